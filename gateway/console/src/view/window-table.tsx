// A table of many rows, of which only those in sight are made. It stays a table to those who cannot see it: each row
// says which of how many it is.
import { useEffect, useRef, useState } from "preact/hooks";
import { rowWindow } from "../model/row-window.ts";
import { type Cell, Cells } from "./table.tsx";

export type Column<T, K extends string> = Cell<T> & {
  /** What it is sorted by; undefined where it is not. */
  readonly sort?: K;
};

const rowHeight = 36;

export function WindowTable<T, K extends string>({
  caption,
  rows,
  columns,
  keyOf,
  sort,
  isDescending,
  onSort,
}: {
  readonly caption: string;
  readonly rows: readonly T[];
  /** The first is the heading of its row. */
  readonly columns: readonly Column<T, K>[];
  readonly keyOf: (row: T) => string;
  readonly sort: K;
  readonly isDescending: boolean;
  readonly onSort: (sort: K) => void;
}) {
  const area = useRef<HTMLDivElement>(null);
  const [{ scrollTop, height }, setView] = useState({ scrollTop: 0, height: 640 });
  useEffect(() => {
    const { current } = area;
    if (current === null) return undefined;
    const look = (): void => setView({ scrollTop: current.scrollTop, height: current.clientHeight });
    const observer = new ResizeObserver(look);
    observer.observe(current);
    current.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      current.removeEventListener("scroll", look);
    };
  }, []);
  const { from, to, above, below } = rowWindow({ count: rows.length, rowHeight, scrollTop, height });
  return (
    <div class="window" ref={area} tabIndex={0} role="group" aria-label={caption}>
      <table aria-rowcount={rows.length + 1}>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr aria-rowindex={1}>
            {columns.map(({ title, sort: key, isNumber }) => (
              <th
                scope="col"
                key={title}
                class={isNumber === true ? "number" : ""}
                {...(key !== undefined &&
                  key === sort && { "aria-sort": isDescending ? ("descending" as const) : ("ascending" as const) })}
              >
                {key === undefined ? (
                  title
                ) : (
                  <button type="button" class="sort" onClick={() => onSort(key)}>
                    {title}
                    <span aria-hidden="true" class="arrow">
                      {key === sort ? (isDescending ? "▼" : "▲") : ""}
                    </span>
                  </button>
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {above > 0 && <Space height={above} columns={columns.length} />}
          {rows.slice(from, to).map((row, i) => (
            <tr key={keyOf(row)} aria-rowindex={from + i + 2}>
              <Cells row={row} columns={columns} />
            </tr>
          ))}
          {below > 0 && <Space height={below} columns={columns.length} />}
        </tbody>
      </table>
    </div>
  );
}

function Space({ height, columns }: { readonly height: number; readonly columns: number }) {
  return (
    <tr aria-hidden="true" class="space">
      <td colSpan={columns} style={{ height: `${height}px` }} />
    </tr>
  );
}
