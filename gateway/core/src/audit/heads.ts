// Has the head of a chain signed by Vault, at intervals and at the end. What is signed cannot be made
// anew by anybody who may not ask Vault for it, whatever else he has. (docs/architecture.md #audit.)
import type { KeyObject } from "node:crypto";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { type Chain, headInput } from "./chain.ts";
import type { SignedHead } from "./record.ts";

export type HeadSigner = {
  /** The key of the MACs; undefined while it is not known. */
  readonly key: () => KeyObject | undefined;
  /** The version of the integrity key that `sign` uses and `key` is derived from. */
  readonly keyVersion: number;
  /** @throws KmsError as Signer */
  readonly sign: (input: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>;
};

/** Between two signatures, in milliseconds. */
const everyMs = 60_000;
const signMs = 5000;
/** The end of a process waits for so long. */
const lastMs = 2000;

/** @param onHead called with each head that was signed at an interval */
export function createHeadSigner({
  signer,
  chain,
  log,
  onHead,
}: {
  readonly signer: HeadSigner;
  readonly chain: Chain;
  readonly log: Log;
  readonly onHead: (head: SignedHead) => void;
}): {
  /** Since when there may be records that no signed head covers, Unix seconds: the last signature, or the start. */
  signedAt(): number;
  /** Ends the intervals, and signs once more; undefined when that is not possible. */
  close(): Promise<SignedHead | undefined>;
} {
  let isFailing = false;
  let signedAt = Date.now() / 1000;
  const sign = async (ms: number): Promise<SignedHead | undefined> => {
    const head = chain.head();
    if (head === undefined) return undefined;
    try {
      const signature = Buffer.from(await signer.sign(headInput(head), AbortSignal.timeout(ms))).toString("hex");
      isFailing = false;
      signedAt = Date.now() / 1000;
      return { ...head, keyVersion: signer.keyVersion, signature };
    } catch (error) {
      if (!isFailing)
        log.warn(
          { event: "audit-head-unsigned", err: error },
          "the head of the audit chain cannot be signed; this is tried again each minute",
        );
      isFailing = true;
      return undefined;
    }
  };
  let isClosed = false;
  let round: Promise<void> | undefined;
  const timer = setInterval(() => {
    round ??= sign(signMs).then((head) => {
      round = undefined;
      if (head !== undefined && !isClosed) onHead(head);
    });
  }, everyMs).unref();
  return {
    signedAt: () => signedAt,
    async close() {
      isClosed = true;
      clearInterval(timer);
      return await sign(lastMs);
    },
  };
}
