// Grouped bars as one SVG file: a panel for each figure, a group for each load, a bar for each side.
// Draws; measures nothing.
import { colours, label, line, short, svgOf, width } from "./picture.ts";
import { writeFileSync } from "node:fs";

export type BarPanel = {
  readonly title: string;
  readonly sides: readonly string[];
  /** NaN draws no bar. */
  readonly groups: readonly { readonly name: string; readonly values: readonly number[] }[];
};

const [height, left, right, top, bottom] = [220, 70, 20, 40, 30];
const ticks = [0, 0.25, 0.5, 0.75, 1];

function panelOf({ title, sides, groups }: BarPanel, offset: number): string {
  const most = Math.max(...groups.flatMap(({ values }) => values.filter(Number.isFinite)), 1e-9);
  const floor = offset + height - bottom;
  const atY = (value: number): number => floor - (value / most) * (height - top - bottom);
  const groupWidth = (width - left - right) / groups.length;
  const barWidth = Math.min(60, (groupWidth * 0.7) / sides.length);
  const bars = groups.flatMap(({ name, values }, i) => {
    const middle = left + (i + 0.5) * groupWidth;
    const drawn = values.flatMap((value, n) => {
      if (!Number.isFinite(value)) return [];
      const x = middle + (n - values.length / 2) * barWidth;
      const [y, high] = [atY(value).toFixed(1), (floor - atY(value)).toFixed(1)];
      return [
        `<rect x="${x.toFixed(1)}" y="${y}" width="${(barWidth - 2).toFixed(1)}" height="${high}" fill="${colours[n % colours.length]}"/>`,
        label((x + barWidth / 2).toFixed(1), Number(y) - 3, short(value), 'text-anchor="middle"'),
      ];
    });
    return [...drawn, label(middle.toFixed(1), floor + 16, name, 'text-anchor="middle"')];
  });
  return [
    label(left, offset + 18, title, 'font-weight="bold"'),
    ...sides.map((name, n) => label(left + 480 + n * 110, offset + 18, name, `fill="${colours[n % colours.length]}"`)),
    ...ticks.map((share) => {
      const y = atY(share * most).toFixed(1);
      return (
        line(left, y, width - right, y, "#ddd") +
        label(left - 6, Number(y) + 4, short(share * most), 'text-anchor="end"')
      );
    }),
    ...bars,
  ].join("\n");
}

/** Writes the panels, the first on top. */
export function writeBars(file: string, panels: readonly BarPanel[]): void {
  writeFileSync(file, svgOf(panels.map((panel, i) => panelOf(panel, i * height)).join("\n"), height * panels.length));
}
