// Files of genuine audit records, and what a verification says of them.
import { createHmac, createSecretKey, type KeyObject } from "node:crypto";
import { chainLine, createChain, headInput, type Chain } from "@claviger/gateway-core/src/audit/chain.ts";
import type { Report } from "@claviger/gateway-core/src/audit/findings.ts";
import type { AuditEntry, ChainHead, SignedHead } from "@claviger/gateway-core/src/audit/record.ts";
import { createVerifier, type VerifyKeys } from "@claviger/gateway-core/src/audit/verify.ts";

export const key = createSecretKey(Buffer.alloc(32, 7));

export function sign(input: Uint8Array): Uint8Array {
  return createHmac("sha256", "in Vault").update(input).digest();
}

export const keys: VerifyKeys = {
  key: () => Promise.resolve(key),
  sign: (input) => Promise.resolve(sign(input)),
};

export const noKeys: VerifyKeys = { key: () => Promise.resolve(undefined), sign: undefined };

const start = Date.parse("2026-01-01T00:00:00Z");

export function entry(n: number, more: Partial<AuditEntry> = {}): AuditEntry {
  return {
    at: start + n * 1000,
    method: "encrypt",
    outcome: "ok",
    milliseconds: 1,
    cluster: "prod",
    count: n,
    ...more,
  };
}

export function signedHead(chain: Chain): SignedHead {
  const head = chain.head() as ChainHead;
  return { ...head, keyVersion: 1, signature: Buffer.from(sign(headInput(head))).toString("hex") };
}

export function headEntry(chain: Chain, n: number, method = "chainHead"): AuditEntry {
  return entry(n, { method, head: signedHead(chain) });
}

/** Lines without their newlines. */
export type Lines = string[];

/**
 * The lines of one process: start, `count` records, a signed head in their middle, the end.
 * @param after the time of its first record, in seconds
 */
export function processLines(
  count: number,
  after: number,
  {
    earlier = [],
    isKeyed = true,
    hasEnd = true,
  }: { readonly earlier?: readonly ChainHead[]; readonly isKeyed?: boolean; readonly hasEnd?: boolean } = {},
): { readonly lines: Lines; readonly head: ChainHead } {
  const chain = createChain(() => (isKeyed ? key : undefined));
  const entries = function* (): Generator<AuditEntry> {
    yield entry(after, { method: "chainStart", replica: "gateway-1", earlier, ...(isKeyed && { keyVersion: 1 }) });
    for (let n = 1; n <= count; n++) {
      if (isKeyed && n === Math.ceil(count / 2)) yield headEntry(chain, after + n);
      yield entry(after + n);
    }
    if (hasEnd)
      yield isKeyed ? headEntry(chain, after + count, "chainEnd") : entry(after + count, { method: "chainEnd" });
  };
  const lines: Lines = [];
  for (const one of entries()) lines.push(chain.append(one).trimEnd());
  return { lines, head: chain.head() as ChainHead };
}

/** The chain from a line on made anew, as somebody can who has this key. */
export function makeAnew(lines: Lines, from: number, change: (line: string) => string, own?: KeyObject): Lines {
  const made = lines.slice(0, from);
  let previous: string | undefined;
  for (const line of lines.slice(from)) {
    const {
      time,
      chain,
      sequence,
      previous: before,
      mac,
      ...rest
    } = JSON.parse(previous === undefined ? change(line) : line) as AuditEntry & {
      time: string;
      chain: string;
      sequence: number;
      previous: string;
      mac?: string;
    };
    void mac;
    const next = { chain, sequence, previous: previous ?? before };
    const chained = chainLine(next, { ...rest, at: Date.parse(time) }, own);
    made.push(chained.line.trimEnd());
    previous = chained.next.previous;
  }
  return made;
}

/** Verifies files, each a list of lines; the first is `1`. */
export async function verify(files: readonly Lines[], how: VerifyKeys = keys): Promise<Report> {
  const verifier = createVerifier(how);
  for (const [i, lines] of files.entries()) {
    const file = String(i + 1);
    for (const [at, line] of lines.entries()) await verifier.line({ file, line: at + 1 }, Buffer.from(line));
    verifier.endOfFile({ file, line: lines.length });
  }
  return await verifier.finish();
}

/** The findings, short: `1:7 edited 6-6`. */
export function found({ findings }: Report): readonly string[] {
  return findings.map(
    ({ file, line, kind, first, last }) =>
      `${file}:${line} ${kind}${last === undefined ? "" : first === undefined || first === last ? ` ${last}` : ` ${first}-${last}`}`,
  );
}
