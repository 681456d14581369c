// Counts, and writes the page that Prometheus reads. Names end in their unit, as its conventions want; what is
// counted, and under which names, is each program's own matter. The only file that imports OpenTelemetry's metrics.
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { resourceOf, type Service } from "./resource.ts";

/** Values come from closed or bounded sets; never a secret. */
export type Labels = Readonly<Record<string, string>>;
export type Sample = { readonly value: number; readonly labels?: Labels };
/** Asked at each scrape. Undefined, and no samples: nothing is shown. */
export type Reading = () => number | undefined | readonly Sample[];

export interface Meter {
  /** Only goes up. The page adds `_total` to its name. */
  counter(name: string, description: string): (count: number, labels?: Labels) => void;
  /** Goes up and down. */
  upDownCounter(name: string, description: string): (count: number) => void;
  /** @param bounds upper bounds of its buckets, in the unit that the name ends in */
  histogram(name: string, description: string, bounds: readonly number[]): (value: number, labels?: Labels) => void;
  gauge(name: string, description: string, read: Reading): void;
  /** As `counter`, where somebody else counts. */
  observedCounter(name: string, description: string, read: Reading): void;
  /** The page for a scraper. */
  readonly render: () => Promise<string>;
}

export type MeterOptions = {
  readonly service?: Service;
  /** Names that changed since the last release, each with its earlier one: that is shown as well. */
  readonly earlierNames?: Readonly<Record<string, string>>;
};

function samplesOf(read: Reading): readonly Sample[] {
  const found = read();
  if (found === undefined) return [];
  return typeof found === "number" ? [{ value: found }] : found;
}

/** Writes families that have another name now under their earlier one, too. */
function withEarlierNames(page: string, earlier: Readonly<Record<string, string>>): string {
  return page
    .split(/^(?=# HELP )/m)
    .map((family) => {
      const name = /^# HELP (\w+) /.exec(family)?.[1] ?? "";
      const before = earlier[name];
      if (before === undefined) return family;
      const [, ...lines] = family.split("\n");
      const copy = lines.map((line) => line.replace(name, before));
      return `${family}# HELP ${before} Earlier name of ${name}; the next release has it no more\n${copy.join("\n")}`;
    })
    .join("");
}

export function createMeter({
  service = { name: "claviger", version: "" },
  earlierNames = {},
}: MeterOptions = {}): Meter {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const meter = new MeterProvider({ readers: [exporter], resource: resourceOf(service) }).getMeter(service.name);
  const constant = Object.keys(service.labels ?? {});
  const serializer = new PrometheusSerializer(
    undefined,
    false,
    constant.length === 0 ? undefined : new RegExp(`^(?:${constant.join("|")})$`),
    false,
    true,
  );
  return {
    counter(name, description) {
      const counter = meter.createCounter(name, { description });
      return (count, labels) => counter.add(count, labels);
    },
    upDownCounter(name, description) {
      const counter = meter.createUpDownCounter(name, { description });
      return (count) => counter.add(count);
    },
    histogram(name, description, bounds) {
      const histogram = meter.createHistogram(name, { description, advice: { explicitBucketBoundaries: [...bounds] } });
      return (value, labels) => histogram.record(value, labels);
    },
    gauge(name, description, read) {
      meter.createObservableGauge(name, { description }).addCallback((result) => {
        for (const { value, labels } of samplesOf(read)) result.observe(value, labels);
      });
    },
    observedCounter(name, description, read) {
      meter.createObservableCounter(name, { description }).addCallback((result) => {
        for (const { value, labels } of samplesOf(read)) result.observe(value, labels);
      });
    },
    async render() {
      const { resourceMetrics } = await exporter.collect();
      return withEarlierNames(serializer.serialize(resourceMetrics), earlierNames);
    },
  };
}
