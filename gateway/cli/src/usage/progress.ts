// Says how far a long read is, now and then.

/** How many entries of how many (undefined: not known) are read. */
export type Progress = (name: string, read: number, total?: number) => void;

const everyMs = 5000;

/** @param now milliseconds of a clock that nobody sets */
export function createProgress(say: (line: string) => void, now: () => number = () => performance.now()): Progress {
  let next = now() + everyMs;
  return (name, read, total) => {
    if (now() < next) return;
    next = now() + everyMs;
    say(`${name}: ${read}${total === undefined ? "" : ` of ${total}`} entries read`);
  };
}
