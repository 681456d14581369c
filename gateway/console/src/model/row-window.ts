// Which rows of a long table are made: those in sight, and some beside them, so that a key that moves the focus
// finds a row.

export type RowWindow = { readonly from: number; readonly to: number; readonly above: number; readonly below: number };

const beside = 12;

/** All in pixels but `count`, the number of rows. */
export function rowWindow({
  count,
  rowHeight,
  scrollTop,
  height,
}: {
  readonly count: number;
  readonly rowHeight: number;
  readonly scrollTop: number;
  readonly height: number;
}): RowWindow {
  const first = Math.min(count, Math.max(0, Math.floor(scrollTop / rowHeight) - beside));
  const to = Math.min(count, Math.ceil((Math.max(0, scrollTop) + height) / rowHeight) + beside);
  const from = Math.min(first, to);
  return { from, to, above: from * rowHeight, below: (count - to) * rowHeight };
}
