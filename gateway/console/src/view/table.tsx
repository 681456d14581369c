// A table of few rows.
import type { ComponentChildren } from "preact";

export type Cell<T> = {
  readonly title: string;
  readonly isNumber?: boolean;
  readonly cell: (row: T) => ComponentChildren;
};

/** The cells of a row; the first is its heading. */
export function Cells<T>({ row, columns }: { readonly row: T; readonly columns: readonly Cell<T>[] }) {
  return (
    <>
      {columns.map(({ title, isNumber, cell }, at) =>
        at === 0 ? (
          <th scope="row" key={title}>
            {cell(row)}
          </th>
        ) : (
          <td key={title} class={isNumber === true ? "number" : ""}>
            {cell(row)}
          </td>
        ),
      )}
    </>
  );
}

export function Table<T>({
  caption,
  rows,
  columns,
  keyOf,
  none,
}: {
  readonly caption: string;
  readonly rows: readonly T[];
  /** The first is the heading of its row. */
  readonly columns: readonly Cell<T>[];
  readonly keyOf: (row: T) => string;
  /** What is said where there is no row. */
  readonly none: string;
}) {
  if (rows.length === 0) return <p class="muted">{none}</p>;
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={caption}>
      <table>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ title, isNumber }) => (
              <th scope="col" key={title} class={isNumber === true ? "number" : ""}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              <Cells row={row} columns={columns} />
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
