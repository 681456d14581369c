// systemd's journal as the reader of standard error: it takes the priority of a line from before it
// (sd-daemon(3)), which makes `journalctl -p err` find errors.
import { fstatSync } from "node:fs";

/** By the levels of the log. */
const priorities: Readonly<Record<number, string>> = {
  10: "<7>",
  20: "<7>",
  30: "<6>",
  40: "<4>",
  50: "<3>",
  60: "<2>",
};

/**
 * Does standard error go to the journal, and not to a file that the unit names or to another program?
 * @param stream $JOURNAL_STREAM (systemd.exec(5))
 */
export function isJournal(stream: string | undefined): boolean {
  if (stream === undefined) return false;
  const { dev, ino } = fstatSync(2);
  return stream === `${dev}:${ino}`;
}

/** What stands before a line of this level: `<6>`. */
export function priorityOf(level: number): string {
  return priorities[level] ?? "<6>";
}
