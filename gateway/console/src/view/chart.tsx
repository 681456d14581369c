// Lines over time. The only file that imports uPlot. What the lines say stands below them in a table, for those who
// do not see them and for those who want a number.
import uPlot from "uplot";
import { useEffect, useId, useRef } from "preact/hooks";
import { formatValue, type Lines, summaryOf } from "../model/history.ts";
import { theme } from "./theme.ts";
import "uplot/dist/uPlot.min.css";

const height = 140;
/** As many lines as can be told from each other; what is more stands in the table alone. */
const mostLines = 6;

function colour(element: Element, name: string): string {
  return getComputedStyle(element).getPropertyValue(name).trim();
}

function optionsOf(element: HTMLElement, lines: Lines["lines"], unit: string): uPlot.Options {
  const axis = {
    stroke: () => colour(element, "--text-muted"),
    grid: { stroke: () => colour(element, "--line"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
  };
  return {
    width: Math.max(200, element.clientWidth),
    height,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, __, highest) => [0, Math.max(highest ?? 0, unit === "" ? 1 : 0.1) * 1.05] } },
    axes: [
      { ...axis, size: 28 },
      { ...axis, size: 48, values: (_, splits) => splits.map(formatValue) },
    ],
    series: [
      {},
      ...lines.map(({ name }, i) => ({
        label: name,
        stroke: () => colour(element, `--series-${i + 1}`),
        width: 1.5,
        // A second way beside colour to tell lines apart.
        ...(i % 3 > 0 && { dash: i % 3 === 1 ? [6, 3] : [2, 3] }),
        points: { show: false },
      })),
    ],
  };
}

export function Chart({
  title,
  unit,
  data: { times, lines },
}: {
  readonly title: string;
  readonly unit: string;
  readonly data: Lines;
}) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>(undefined);
  const id = useId();
  const drawn = lines.slice(0, mostLines);
  const names = drawn.map(({ name }) => name).join("\n");
  const isEmpty = drawn.every(({ values }) => values.every((value) => value === null));
  useEffect(() => {
    const { current } = place;
    if (current === null || isEmpty) return undefined;
    const made = new uPlot(optionsOf(current, drawn, unit), [[], ...drawn.map(() => [])], current);
    chart.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: Math.max(200, current.clientWidth), height }));
    observer.observe(current);
    const stop = theme.subscribe(() => made.redraw(false));
    return () => {
      stop();
      observer.disconnect();
      made.destroy();
      chart.current = undefined;
    };
  }, [names, unit, isEmpty]);
  useEffect(() => {
    chart.current?.setData([[...times], ...drawn.map(({ values }) => [...values])]);
  });

  return (
    <figure class="chart" aria-labelledby={id}>
      <figcaption id={id}>
        {title}
        {unit !== "" && <span class="muted"> ({unit})</span>}
      </figcaption>
      {isEmpty ? <p class="muted">Nothing is known of this time.</p> : <div ref={place} aria-hidden="true" />}
      {lines.length > 0 && !isEmpty && (
        <table class="legend">
          <thead>
            <tr>
              <th scope="col">Line</th>
              <th scope="col" class="number">
                Newest
              </th>
              <th scope="col" class="number">
                Highest
              </th>
            </tr>
          </thead>
          <tbody>
            {lines.map((line, i) => {
              const { latest, highest } = summaryOf(line);
              return (
                <tr key={line.name}>
                  <th scope="row">
                    {i < mostLines && <LineSample index={i} />}
                    {line.name}
                  </th>
                  <td class="number">{latest === undefined ? "unknown" : formatValue(latest)}</td>
                  <td class="number">{highest === undefined ? "unknown" : formatValue(highest)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
    </figure>
  );
}

function LineSample({ index }: { readonly index: number }) {
  return (
    <svg class={`sample series-${index + 1}`} width="24" height="8" aria-hidden="true" focusable="false">
      <path d="M0 4h24" stroke="currentColor" stroke-width="2" stroke-dasharray={["", "6 3", "2 3"][index % 3]} />
    </svg>
  );
}
