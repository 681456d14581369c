// Plaintexts that carry the deadline of their caller, and the audit file of OpenBao in which they are found
// again: did anything reach Vault that nobody waited for any more?
import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

const mark = Buffer.from("deadline");
const length = 32;

/** As long as a seed. @param deadline Unix milliseconds */
export function plaintextOf(deadline: number): Buffer {
  const plaintext = randomBytes(length);
  mark.copy(plaintext);
  plaintext.writeDoubleBE(deadline, mark.length);
  return plaintext;
}

/** Unix milliseconds; undefined where it carries none. */
export function deadlineOf(plaintext: Buffer): number | undefined {
  if (plaintext.length !== length || !plaintext.subarray(0, mark.length).equals(mark)) return undefined;
  return plaintext.readDoubleBE(mark.length);
}

/** What OpenBao was asked to encrypt. Milliseconds by which the latest request came after its deadline; 0 for none. */
export type Arrivals = { readonly total: number; readonly late: number; readonly latest: number };

type Line = {
  readonly time: string;
  readonly type: string;
  readonly request?: {
    readonly operation?: string;
    readonly data?: { readonly plaintext?: string; readonly batch_input?: readonly { readonly plaintext?: string }[] };
  };
};

/**
 * Reads an audit file with nothing hashed.
 * @param since Unix milliseconds: what came before does not count
 */
export async function arrivalsIn(file: string, since: number): Promise<Arrivals> {
  let [total, late, latest] = [0, 0, 0];
  for await (const text of createInterface({ input: createReadStream(file) })) {
    // The last line may be a piece of one.
    if (!text.endsWith("}") || !text.includes("transit/encrypt/")) continue;
    const { time, type, request } = JSON.parse(text) as Line;
    const at = Date.parse(time);
    if (type !== "request" || at < since) continue;
    for (const item of request?.data?.batch_input ?? [request?.data]) {
      const deadline = deadlineOf(Buffer.from(item?.plaintext ?? "", "base64"));
      if (deadline === undefined) continue;
      total += 1;
      if (at > deadline) late += 1;
      latest = Math.max(latest, at - deadline);
    }
  }
  return { total, late, latest };
}
