// Time series and curves as one SVG file: a panel for each, one above the other. Draws; measures nothing.
import { writeFileSync } from "node:fs";

export type Panel = {
  readonly title: string;
  readonly series: readonly { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }[];
  readonly xLabel: string;
  /** Both axes are logarithmic. */
  readonly isLog?: boolean;
  /** Moments to mark. */
  readonly marks?: readonly { readonly x: number; readonly name: string }[];
};

export const width = 860;
const [height, left, top, bottom] = [220, 70, 30, 40];
const right = 20;
export const colours = ["#1b6ca8", "#c8553d", "#3a7d44", "#7d5ba6", "#b08900", "#555555"];

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function ticksOf(most: number, isLog: boolean, least: number): readonly number[] {
  if (!isLog) return [0, 0.25, 0.5, 0.75, 1].map((share) => share * most);
  const [from, to] = [Math.floor(Math.log10(least)), Math.ceil(Math.log10(most))];
  return Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i));
}

export function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}

type Place = string | number;

export function label(x: Place, y: Place, text: string, more = ""): string {
  return `<text x="${x}" y="${y}" ${more}>${escape(text)}</text>`;
}

export function line(x1: Place, y1: Place, x2: Place, y2: Place, stroke: string): string {
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${stroke}"/>`;
}

/** A whole file around what stands in it. */
export function svgOf(body: string, total: number): string {
  const size = `width="${width}" height="${total}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="11">\n<rect ${size} fill="white"/>\n${body}\n</svg>\n`;
}

function panelOf({ title, series, xLabel, isLog = false, marks = [] }: Panel, offset: number): string {
  const points = series.flatMap((one) => one.points.filter(([, y]) => Number.isFinite(y) && (!isLog || y > 0)));
  const spanOf = (values: readonly number[]) => {
    const [low, high] = [Math.min(...values), Math.max(...values, isLog ? 1e-6 : 1e-9)];
    const ticks = ticksOf(high, isLog, low);
    return { ticks, low: ticks[0] ?? 0, high: ticks.at(-1) ?? 1 };
  };
  const [xs, ys] = [spanOf(points.map(([x]) => x)), spanOf(points.map(([, y]) => y))];
  const place = (value: number, { low, high }: { readonly low: number; readonly high: number }): number =>
    isLog ? Math.log10(value / low) / Math.log10(high / low || 10) : (value - low) / (high - low || 1);
  const atX = (x: number): string => (left + place(x, xs) * (width - left - right)).toFixed(1);
  const atY = (y: number): string => (offset + height - bottom - place(y, ys) * (height - top - bottom)).toFixed(1);
  return [
    label(left, offset + 18, title, 'font-weight="bold"'),
    ...ys.ticks.map(
      (y) =>
        line(left, atY(y), width - right, atY(y), "#ddd") +
        label(left - 6, Number(atY(y)) + 4, short(y), 'text-anchor="end"'),
    ),
    ...xs.ticks.map((x) => label(atX(x), offset + height - bottom + 16, short(x), 'text-anchor="middle"')),
    label(width - right, offset + height - 6, xLabel, 'text-anchor="end"'),
    ...marks.map(
      ({ x, name }) =>
        line(atX(x), offset + top, atX(x), offset + height - bottom, "#999") +
        label(Number(atX(x)) + 4, offset + top + 10, name, 'fill="#666"'),
    ),
    ...series.flatMap(({ name, points: all }, i) => {
      const colour = colours[i % colours.length] ?? "#000";
      const good = all.filter(([, y]) => Number.isFinite(y) && (!isLog || y > 0));
      const path = good.map(([x, y]) => `${atX(x)},${atY(y)}`).join(" ");
      return [
        `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>`,
        // A few points are measurements of their own, and not a course of time.
        ...(good.length > 10
          ? []
          : good.map(([x, y]) => `<circle cx="${atX(x)}" cy="${atY(y)}" r="3" fill="${colour}"/>`)),
        label(left + 260 + i * 110, offset + 18, name, `fill="${colour}"`),
      ];
    }),
  ].join("\n");
}

/** Writes the panels, the first on top. */
export function writePicture(file: string, panels: readonly Panel[]): void {
  const body = panels.map((panel, i) => panelOf(panel, i * height)).join("\n");
  writeFileSync(file, svgOf(body, height * panels.length));
}
