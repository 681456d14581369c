// Times as messages have them.
import type { Timestamp } from "@bufbuild/protobuf/wkt";

/** @param milliseconds Unix */
export function timeOf(milliseconds: number): Pick<Timestamp, "seconds" | "nanos"> {
  const seconds = Math.floor(milliseconds / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((milliseconds - seconds * 1000) * 1e6) };
}

/** Unix milliseconds. */
export function millisecondsOf({ seconds = 0n, nanos = 0 }: Partial<Pick<Timestamp, "seconds" | "nanos">>): number {
  return Number(seconds) * 1000 + nanos / 1e6;
}
