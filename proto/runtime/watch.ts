// Notices that files have changed, by looking at them: sees a rename, an edit in place and a
// ConfigMap's or Secret's symlink swap alike.
import { stat } from "node:fs/promises";
import type { Log } from "./log.ts";

/**
 * Calls `onChange` after any of the files changed and then stayed the same for one look; when it
 * throws, the change is tried again at each look, and logged once.
 * @param files asked at each look: what one of them says may be which others there are
 * @param everyMs time between looks
 */
export function watchFiles({
  files,
  onChange,
  log,
  everyMs = 1000,
}: {
  readonly files: () => readonly string[];
  /** Returns false when the files say nothing new. */
  readonly onChange: () => boolean | void;
  readonly log: Log;
  readonly everyMs?: number;
}): { close(): void } {
  const look = async (): Promise<string> => {
    const stats = await Promise.all(files().map((file) => stat(file).catch(() => undefined)));
    return stats
      .map((found) => (found === undefined ? "missing" : `${found.ino} ${found.size} ${found.mtimeMs}`))
      .join("|");
  };
  let applied: string | undefined;
  let last: string | undefined;
  let rejected: string | undefined;
  let timer: NodeJS.Timeout;
  const round = async (): Promise<void> => {
    const now = await look();
    applied ??= now;
    if (now !== applied && now === last) {
      try {
        const hasNews = onChange() !== false;
        applied = await look();
        const wasRejected = rejected !== undefined;
        rejected = undefined;
        if (hasNews || wasRejected) log.info({ event: "files-reloaded", files: files() }, "changed files are in use");
      } catch (error) {
        if (now !== rejected)
          log.error(
            { event: "files-rejected", files: files(), err: error },
            "changed files are not usable; the earlier ones stay in use",
          );
        rejected = now;
      }
    }
    last = now;
    timer = setTimeout(() => void round(), everyMs).unref();
  };
  void round();
  return { close: () => clearTimeout(timer) };
}
