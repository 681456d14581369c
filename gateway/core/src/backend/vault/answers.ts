// What an answer from a Vault's address is worth: Vault's own word, or something that stands before it
// or lags behind. Only the active node can say that something is gone; what any other says about that
// is an outage of that address, and the next one is asked. (docs/architecture.md #vault.)
import { KmsError, type Reason } from "@claviger/proto/wire/errors.ts";

/** An address answers, but its answer is not the word of Vault's active node. */
export class NotVaultsWord extends Error {
  override readonly name = "NotVaultsWord";
}

/** An outage of this address alone: it is not down, and the next one is asked. */
export function notVaultsWord(why: string): KmsError {
  return new KmsError("backend_unavailable", { cause: new NotVaultsWord(why) });
}

export function isNotVaultsWord({ cause }: KmsError): boolean {
  return cause instanceof NotVaultsWord;
}

function retryAfterMs(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return ms > 0 ? ms : undefined;
}

/** Looks at bytes: a batch reply holds plaintexts. */
function isObject(body: Buffer): boolean {
  return body.subarray(0, 64).toString("latin1").trimStart().startsWith("{");
}

/** Is this JSON of a form that Vault refuses in? */
function isVaultJson(body: Buffer): boolean {
  return isObject(body) && (body.includes('"errors"') || body.includes('"data"'));
}

/**
 * Why another address must be asked; undefined when this is Vault's answer.
 * @param status of the reply
 * @param body stays the caller's
 * @param retryAfter the header of that name
 */
export function faultOf(status: number, body: Buffer, retryAfter: string | undefined): KmsError | undefined {
  const fail = (reason: Reason, why: string): KmsError => {
    const ms = retryAfterMs(retryAfter);
    return new KmsError(reason, { cause: new Error(why), ...(ms !== undefined && { retryAfterMs: ms }) });
  };
  if (status === 503 && body.includes("sealed")) return fail("backend_sealed", "sealed");
  if (status === 429) return fail("backend_rate_limited", "status 429");
  // 472, 473: standbys that do not forward. A redirect would send token and body to wherever it
  // says.
  if (status >= 500 || status === 472 || status === 473 || (status >= 300 && status < 400))
    return fail("backend_unavailable", `status ${status}`);
  if (status < 400)
    return body.length === 0 || isObject(body)
      ? undefined
      : notVaultsWord(`status ${status} without JSON: something else than a Vault?`);
  if (status === 412) return notVaultsWord("status 412: a standby that has not caught up");
  if (!isVaultJson(body)) return notVaultsWord(`status ${status} without Vault's JSON: a proxy before it?`);
  return undefined;
}

/** Texts of a 400 that a node gives which has not yet seen a key or a version of it. */
const unseen = ["encryption key not found", "higher than the latest key version", "version is too new"];

/**
 * Would a standby that lags behind answer so, while the active node knows better? A token, a key or a
 * version that it has not seen yet.
 */
export function mayLag(status: number, body: Buffer): boolean {
  return status === 403 || status === 404 || (status === 400 && unseen.some((text) => body.includes(text)));
}

/**
 * Is this the answer of a standby to sys/health? A proxy that keeps that path to itself says neither,
 * and counts as the active node: there is nothing better to go by.
 */
export function isStandby(status: number): boolean {
  return status === 429 || status === 472 || status === 473;
}
