// Unix time that only goes forward at the pace of time: for ages. The wall clock is looked at once;
// whoever sets it back or forth later changes no age. Not for what other machines are told.

/** @returns whole Unix milliseconds as of the start, advanced by a monotonic clock */
export function createSteadyClock(
  wall: () => number = Date.now,
  monotonic: () => number = () => performance.now(),
): () => number {
  const offset = wall() - monotonic();
  return () => Math.round(offset + monotonic());
}
