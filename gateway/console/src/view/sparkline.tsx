// A small line of numbers over time, and the same in words.
import { sparkPaths } from "../model/spark.ts";
import { plural } from "../model/count.ts";
import { Unknown } from "./status.tsx";

const size = { width: 96, height: 20 } as const;

export function Sparkline({
  values,
  total,
}: {
  readonly values: readonly (number | undefined)[];
  readonly total: number | undefined;
}) {
  if (total === undefined) return <Unknown />;
  return (
    <svg
      class="sparkline"
      viewBox={`-1 -1 ${size.width + 2} ${size.height + 2}`}
      width={size.width}
      height={size.height}
      role="img"
      aria-label={`${plural(total, "call")} in the last hour`}
    >
      {sparkPaths(values, size).map((path) => (
        <path d={path} key={path} fill="none" stroke="currentColor" />
      ))}
    </svg>
  );
}
