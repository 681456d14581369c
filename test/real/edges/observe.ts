// What can be seen of a program from outside: its log, its metrics, /readyz. Ports, times and uids, which
// differ from run to run, are left out.
import { readFileSync, statSync } from "node:fs";
import type { LabProcess } from "../../lab/process-group.ts";

export type Program = {
  /** `gateway` or `shim`; several of one name are seen as one. */
  readonly name: string;
  readonly proc: () => LabProcess;
  /** The URL of its metrics. */
  readonly metrics: string;
};

export type LogLine = { readonly event: string; readonly level: number; readonly identity: string };

/** Replaces what is different in each run. */
export function normalise(text: string): string {
  return text
    .replaceAll(/(?:,? ?since | ?\(since )\d{4}-\d\d-\d\dT[\d:.]+Z\)?/g, "")
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME")
    .replaceAll(/\b(127\.0\.0\.1|localhost|[a-z.-]+\.test):\d+/g, "$1:PORT")
    .replaceAll(/\/tmp\/claviger-\w+\//g, "DIR/")
    .replaceAll(/\b\d+(?:\.\d+)? (ms|s|seconds|minutes|hours|days)\b/g, "N $1");
}

export function sizeOfLog({ proc }: Program): number {
  return statSync(proc().log).size;
}

/** Lines of level info and above from `offset` on. @throws Error for a line that is none of ours */
export function logFrom({ proc, name }: Program, offset: number): readonly LogLine[] {
  const text = readFileSync(proc().log).subarray(offset).toString("utf8");
  return text
    .split("\n")
    .slice(0, -1)
    .flatMap((line) => {
      if (line.startsWith('{"seq"')) return [];
      let parsed: Readonly<Record<string, unknown>>;
      try {
        parsed = JSON.parse(line) as Readonly<Record<string, unknown>>;
      } catch {
        throw new Error(`${name} wrote a line that is not of its log: ${line}`);
      }
      const { event, level, time: _time, msg: _msg, err: _err, ...fields } = parsed;
      if (typeof event !== "string" || typeof level !== "number" || level < 30) return [];
      return [{ event, level, identity: `${event} ${normalise(JSON.stringify(fields))}` }];
    });
}

/** Every series of a program by its name and labels. */
export type Series = ReadonlyMap<string, number>;

/** What says of a fault what another series or /readyz says as well, with more labels or as a time. */
const besides =
  /^claviger_(?:gateway_(?:cluster_calls|backend_call_duration|backend_batch|redis_up|registry_|key_(?:promoted|latest|created)|audit_(?:sink|queue|head)|vault_token)|fleet_audit|event_loop|certificate|build)|_timestamp_seconds/;

export async function metricsOf({ metrics }: Program): Promise<Series> {
  const page = await (await fetch(metrics)).text();
  const earlier = new Set([...page.matchAll(/^# HELP (\w+) Earlier /gm)].map(([, name = ""]) => name));
  const isEarlier = (line: string): boolean =>
    earlier.has((/^\w+/.exec(line)?.[0] ?? "").replace(/_(?:count|sum)$/, ""));
  const lines = page
    .split("\n")
    .filter((line) => line.startsWith("claviger_") && !line.includes("_bucket{"))
    .filter((line) => !besides.test(line) && !isEarlier(line));
  return new Map(
    lines.map((line) => {
      const [, series = "", value = ""] = /^(.*) (\S+)$/.exec(line) ?? [];
      return [series, Number(value)] as const;
    }),
  );
}

/**
 * Changes with every call, with time, or with how busy the machine is: a call that takes long is made twice, and
 * the one that is not needed any more is left.
 */
const restless =
  /_sum\b|_retries_total|client_errors_total|cause="(?:peer_left|closed)"|_latency|seconds_left|in_flight|gateway_connections|event_loop|seconds_since|result="(?:ok|canceled)"/;
const told = ["kind", "cause", "refused_by", "bound"] as const;

/**
 * What moved, as PromQL would select it.
 * @param isServed no call failed: what single requests met on the way was made good by others
 */
export function moved(before: Series, after: Series, isServed: boolean): readonly string[] {
  const found = [...after].flatMap(([series, value]) => {
    if (isServed && series.includes("upstream_requests_total")) return [];
    if (restless.test(series) || value === (before.get(series) ?? 0)) return [];
    const [, name = "", labels = ""] = /^(\w+)(?:\{(.*)\})?$/.exec(series) ?? [];
    const base = name.replace(/_count$/, "");
    if (/_up$|_phase$|_versions$/.test(base)) return [`\`${base} == ${value}\``];
    if (labels.includes("result=")) return [`\`${base}{result!="ok"}\``];
    if (/_calls_total$|_items_total$|coalesced/.test(base)) return [];
    const kept = told.flatMap((label) => new RegExp(`\\b${label}="[^"]*"`).exec(labels)?.[0] ?? []);
    return [`\`${base}${kept.length > 0 ? `{${kept.join(",")}}` : ""}\``];
  });
  return [...new Set(found)].toSorted();
}

/** What is down in one of both. */
export function withDowns(before: Series, series: Series): Series {
  return new Map([...before, ...[...series].filter(([name, value]) => name.includes("_up{") && value === 0)]);
}

/** What is up and in which phase, as one text to compare. */
export function gaugesOf(series: Series): string {
  return [...series].filter(([name]) => /_up\{|_phase\b/.test(name)).toString();
}

/** What /readyz says, each check by its name; its status among them. */
export type Readyz = Readonly<Record<string, string>>;

export async function readyzOf({ metrics, name }: Program): Promise<Readyz> {
  const reply = await fetch(metrics.replace("/metrics", "/readyz"));
  const { checks, gateways, certificates, phase, tracing } = (await reply.json()) as {
    readonly [part in "checks" | "gateways" | "certificates"]?: Readyz;
  } & { readonly phase?: number; readonly tracing?: string };
  const all = {
    status: String(reply.status),
    ...checks,
    ...gateways,
    ...certificates,
    ...(tracing !== undefined && { tracing }),
    ...(phase !== undefined && { phase: String(phase) }),
  };
  return Object.fromEntries(
    Object.entries(all).map(([check, text]) => [
      `${name} ${normalise(check).replace(/^https:.*/, "gateway")}`,
      normalise(text).split("; ").toSorted().join("; "),
    ]),
  );
}
