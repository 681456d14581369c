// Are the audit records in the file what this service has written? As `claviger audit verify`, with the service's own
// right to the integrity key. (docs/architecture.md #audit.)
import { open } from "node:fs/promises";
import type { Report } from "@claviger/gateway-core/src/audit/findings.ts";
import { createVerifier, type VerifyKeys } from "@claviger/gateway-core/src/audit/verify.ts";

export type Verification = { readonly at: number; readonly report: Report };

/** The newest so many bytes are read. */
const mostBytes = 256 * 2 ** 20;
const blockBytes = 2 ** 18;
const newline = 10;
/** So long a verification is not repeated. */
const freshMs = 60_000;

/** @throws the system's error */
async function verify(path: string, keys: VerifyKeys): Promise<Report> {
  const verifier = createVerifier(keys);
  await using handle = await open(path, "r");
  const { size } = await handle.stat();
  let at = Math.max(0, size - mostBytes);
  // What is cut off at its beginning is no line.
  let isCut = at > 0;
  let rest = Buffer.alloc(0);
  let line = 0;
  while (at < size) {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(blockBytes), 0, Math.min(blockBytes, size - at), at);
    if (bytesRead === 0) break;
    at += bytesRead;
    const all = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
    let start = 0;
    for (let end = all.indexOf(newline); end !== -1; end = all.indexOf(newline, start)) {
      line += 1;
      if (!isCut) await verifier.line({ file: path, line }, all.subarray(start, end));
      isCut = false;
      start = end + 1;
    }
    // The line that is being written now is left out.
    rest = all.subarray(start);
  }
  verifier.endOfFile({ file: path, line });
  return await verifier.finish();
}

/** Where there is no integrity key: hashes and numbers are checked. */
export const noVerifyKeys: VerifyKeys = { key: () => Promise.resolve(undefined), sign: undefined };

export type Verifying = {
  /** What was found last; undefined where nobody has looked yet. */
  last(): Verification | undefined;
  /** Looks, where that was not done a moment ago. @throws the system's error, KmsError */
  look(): Promise<Verification>;
};

/** @param now Unix milliseconds */
export function createVerifying(path: string, keys: VerifyKeys, now: () => number = Date.now): Verifying {
  let last: Verification | undefined;
  let flight: Promise<Verification> | undefined;
  const run = async (): Promise<Verification> => {
    last = { at: now(), report: await verify(path, keys) };
    return last;
  };
  return {
    last: () => last,
    async look() {
      if (last !== undefined && now() - last.at < freshMs) return last;
      flight ??= run().finally(() => {
        flight = undefined;
      });
      return await flight;
    },
  };
}
