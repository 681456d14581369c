// A small line of numbers over time, as paths of SVG: one for each stretch without a gap.

/** @param values undefined where nothing is known */
export function sparkPaths(
  values: readonly (number | undefined)[],
  { width, height }: { readonly width: number; readonly height: number },
): readonly string[] {
  const top = Math.max(1, ...values.map((value) => value ?? 0));
  const step = values.length < 2 ? 0 : width / (values.length - 1);
  const paths: string[] = [];
  let points: string[] = [];
  const end = (): void => {
    const [first] = points;
    // One point alone would be no line.
    if (first !== undefined) paths.push(points.length === 1 ? `M${first}h1` : `M${points.join("L")}`);
    points = [];
  };
  for (const [i, value] of values.entries()) {
    if (value === undefined) end();
    else points.push(`${round(i * step)} ${round(height - (value / top) * height)}`);
  }
  end();
  return paths;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
