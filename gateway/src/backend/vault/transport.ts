// HTTP to one Vault with one or more addresses: keep-alive pools, failover, and the one place where a Vault status becomes a reason.
// The door to undici. No redirects, no proxy variables, no default token; errors carry neither headers nor bodies. (Design section 8.)
import { readFileSync } from "node:fs";
import { KmsError, type Reason } from "@claviger/proto/errors.ts";
import { Pool } from "undici";
import type { VaultConfig } from "../config.ts";

export type VaultRequest = {
  readonly method: string;
  /** Begins with /v1/ */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal: AbortSignal;
};

export type VaultReply = {
  readonly status: number;
  /** The receiver's to wipe. */
  readonly body: Buffer;
};

export interface VaultTransport {
  /**
   * Sends to the address that last worked; goes on to the next one after a failure that another node may not share.
   * Resolves with any reply below 500 but 429, 472 and 473.
   * @throws KmsError backend_unavailable, backend_sealed, backend_rate_limited; what the signal was aborted with
   */
  send(request: VaultRequest): Promise<VaultReply>;
  close(): Promise<void>;
}

type Address = { readonly pool: Pool; readonly origin: string; badUntil: number; failures: number };

/** How long an attempt may hold up the next address; the last one gets all the time that is left. */
const attemptMs = 1000;
const maxReplyBytes = 8 * 1024 * 1024;

const failureOf = (status: number, body: Buffer, retryAfter: string | undefined): KmsError | undefined => {
  const fail = (reason: Reason, why: string): KmsError => {
    const seconds = Number(retryAfter);
    return new KmsError(reason, { cause: new Error(why), ...(seconds > 0 && { retryAfterMs: seconds * 1000 }) });
  };
  if (status === 503 && body.includes("sealed")) return fail("backend_sealed", "sealed");
  if (status === 429) return fail("backend_rate_limited", "status 429");
  // 472, 473: standbys that do not forward. A redirect would send token and body to wherever it says.
  if (status >= 500 || status === 472 || status === 473 || (status >= 300 && status < 400))
    return fail("backend_unavailable", `status ${status}`);
  return undefined;
};

const readTls = (tls: VaultConfig["tls"]) =>
  tls === undefined
    ? {}
    : {
        ...(tls.ca !== undefined && { ca: readFileSync(tls.ca, "utf8") }),
        ...(tls.cert !== undefined && { cert: readFileSync(tls.cert, "utf8") }),
        ...(tls.key !== undefined && { key: readFileSync(tls.key, "utf8") }),
        ...(tls.serverName !== undefined && { servername: tls.serverName }),
      };

/** @throws the system's error when a TLS file cannot be read */
export const createVaultTransport = (
  { addresses, tls }: Pick<VaultConfig, "addresses" | "tls">,
  now: () => number = Date.now,
): VaultTransport => {
  const connect = { ...readTls(tls), timeout: attemptMs };
  const known: Address[] = addresses.map((origin) => ({
    origin,
    pool: new Pool(origin, { connections: 16, pipelining: 1, allowH2: false, keepAliveTimeout: 30_000, connect }),
    badUntil: 0,
    failures: 0,
  }));

  const attempt = async ({ pool }: Address, { method, path, headers, body, signal }: VaultRequest): Promise<VaultReply> => {
    const reply = await pool.request({ method: method as "GET", path, headers, signal, ...(body !== undefined && { body }) });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of reply.body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxReplyBytes) throw new KmsError("backend_misbehaved", { cause: new Error("a reply of more than 8 MiB") });
      chunks.push(chunk);
    }
    const all = Buffer.concat(chunks);
    for (const chunk of chunks) chunk.fill(0);
    const { "retry-after": retryAfter } = reply.headers;
    const failure = failureOf(reply.statusCode, all, typeof retryAfter === "string" ? retryAfter : undefined);
    if (failure !== undefined) throw failure;
    return { status: reply.statusCode, body: all };
  };

  const toFailure = (error: unknown): KmsError => {
    if (error instanceof KmsError) return error;
    // Only what kind of fault it was: undici's errors may hold on to the request.
    const { code, name } = error as NodeJS.ErrnoException;
    return new KmsError("backend_unavailable", { cause: new Error(code ?? name) });
  };

  return {
    async send(request) {
      // Addresses that work first, in the configured order; then the one whose pause ends first.
      const order = known.toSorted((a, b) => Math.max(a.badUntil - now(), 0) - Math.max(b.badUntil - now(), 0));
      let failure: KmsError | undefined;
      for (const [i, address] of order.entries()) {
        const isLast = i === order.length - 1;
        const signal = isLast ? request.signal : AbortSignal.any([request.signal, AbortSignal.timeout(attemptMs)]);
        try {
          const reply = await attempt(address, { ...request, signal });
          address.badUntil = 0;
          address.failures = 0;
          return reply;
        } catch (error) {
          if (request.signal.aborted)
            throw request.signal.reason instanceof KmsError
              ? request.signal.reason
              : new KmsError("deadline_exceeded", { cause: new Error("no reply in time") });
          failure = toFailure(error);
          address.failures += 1;
          address.badUntil = now() + Math.min(250 * 2 ** address.failures, 10_000);
        }
      }
      throw failure ?? new KmsError("backend_unavailable");
    },
    async close() {
      await Promise.all(known.map(({ pool }) => pool.destroy()));
    },
  };
};
