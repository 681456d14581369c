// HTTP to one Vault with one or more addresses: keep-alive pools, failover, and the one place where
// a Vault's state becomes a reason. The only file that imports undici. No redirects, no proxy
// variables, no default token; errors carry neither headers nor bodies. (docs/architecture.md
// #vault.)
import { KmsError, type Reason } from "@claviger/proto/wire/errors.ts";
import { buildConnector, Client, Pool } from "undici";
import { createEndReports } from "@claviger/proto/runtime/end-reports.ts";
import { createEndpointPool } from "@claviger/proto/runtime/endpoint-pool.ts";
import { type Dispatcher, exchange, ReplyTooLarge } from "@claviger/proto/runtime/exchange.ts";
import { createLookup } from "@claviger/proto/runtime/lookup.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { describeHandshakeFailure, handshakeFailureOf } from "@claviger/proto/wire/handshakes.ts";
import type { VaultConfig } from "../config.ts";
import type { AddressState } from "../port.ts";
import { faultOf, isNotVaultsWord, isStandby, mayLag, notVaultsWord } from "./answers.ts";
import { readVaultTls, type VaultTls } from "./tls.ts";

export type VaultRequest = {
  readonly method: string;
  /** Begins with /v1/ */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal: AbortSignal;
  /** Must not happen twice: sent to another address only when the first one surely did nothing. */
  readonly isOnce?: boolean;
  /**
   * Only the active node may answer: what is read here decides about a write or an alarm. On a
   * connection of its own, so that a balancer of connections asks one node.
   */
  readonly fromActive?: boolean;
  /** On a connection of its own, with the client certificate that is on the disk now. */
  readonly isFresh?: boolean;
};

export type VaultReply = {
  readonly status: number;
  /** The receiver's to zeroize. */
  readonly body: Buffer;
};

export interface VaultTransport {
  /**
   * Sends to the first address that is well; goes on to the next one after a failure that another
   * node may not share. Resolves with what is Vault's own word; that something is not there counts
   * from the active node alone.
   * @throws KmsError backend_unavailable, backend_sealed, backend_rate_limited, backend_protocol_error;
   * what the signal was aborted with
   */
  send(request: VaultRequest): Promise<VaultReply>;
  readonly addresses: () => readonly AddressState[];
  close(): Promise<void>;
}

type Node = {
  readonly origin: string;
  readonly pool: Pool;
  /** What its sys/health said last, for a moment: a node that refuses much is not asked each time. */
  standby: { readonly is: boolean; readonly at: number };
};

/** Calls that go to one address at a time; further ones would wait for a connection. */
export const connectionsPerAddress = 16;
/** Of the failures of several addresses the first one here is passed on: it says the most. */
const specific: readonly Reason[] = ["backend_sealed", "backend_rate_limited", "backend_unavailable"];
/** A call without a deadline of its own ends after this long. */
const longestMs = 30_000;
/** A far Vault is slow, and not down: the next address is asked meanwhile, where there is one. */
const connectMs = 5000;
/** For so long an address counts as what its sys/health said: active, or a standby. */
const standbyMs = 1000;
const maxReplyBytes = 8 * 1024 * 1024;

const lookup = createLookup();

/**
 * Files are read for each new connection: a certificate that was replaced is used without a
 * restart.
 * @throws ConfigError when they are not usable now
 */
function createConnect(tls: VaultConfig["tls"]): buildConnector.connector {
  const build = (files: VaultTls): buildConnector.connector =>
    buildConnector({
      ...files,
      // An intermediate is enough, as for Go and curl.
      allowPartialTrustChain: true,
      ...(tls?.serverName !== undefined && { servername: tls.serverName }),
      timeout: connectMs,
      lookup,
      allowH2: false,
    });
  const first = readVaultTls(tls);
  let known = { mark: JSON.stringify(first), connect: build(first) };
  return (options, callback) => {
    try {
      const files = readVaultTls(tls);
      const mark = JSON.stringify(files);
      if (mark !== known.mark) known = { mark, connect: build(files) };
    } catch {
      // In the middle of being replaced: the files that worked so far.
    }
    known.connect(options, callback);
  };
}

function toFailure(error: unknown): KmsError {
  if (error instanceof KmsError) return error;
  if (error instanceof ReplyTooLarge)
    return new KmsError("backend_protocol_error", { cause: new Error("a reply of more than 8 MiB") });
  // Only what kind of fault it was: undici's errors may hold on to the request.
  const { code, name } = error as NodeJS.ErrnoException;
  const failure = code === undefined ? undefined : handshakeFailureOf(code);
  const what = failure === undefined ? "" : `: ${failure}, ${describeHandshakeFailure(failure)}`;
  return new KmsError("backend_unavailable", { cause: new Error(`${code ?? name}${what}`) });
}

function isUntouched({ reason, cause }: KmsError): boolean {
  return (
    reason === "backend_sealed" ||
    reason === "backend_rate_limited" ||
    (cause instanceof Error &&
      /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|UND_ERR_CONNECT_TIMEOUT|status 47[23])$/.test(cause.message))
  );
}

/** Asks one address, and takes what is Vault's own word. @throws KmsError */
async function ask(via: Dispatcher, { method, path, headers, body, signal }: VaultRequest): Promise<VaultReply> {
  try {
    const reply = await exchange(via, { method, path, headers, signal, maxReplyBytes, ...(body && { body }) });
    const retryAfter = reply.headers["retry-after"];
    const failure = faultOf(reply.status, reply.body, retryAfter);
    if (failure !== undefined) throw failure;
    return { status: reply.status, body: reply.body };
  } catch (error) {
    throw toFailure(error);
  }
}

async function asksStandby(via: Dispatcher, signal: AbortSignal): Promise<boolean> {
  const health = { method: "GET", path: "/v1/sys/health", headers: {}, signal, maxReplyBytes };
  const { status } = await exchange(via, health).catch((error: unknown) => {
    throw toFailure(error);
  });
  if (status === 501 || status === 503) throw notVaultsWord(`sys/health says ${status}`);
  return isStandby(status);
}

/** The reply, if it is not one that a standby gives because it lags. @throws KmsError backend_unavailable */
async function confirmed(node: Node, { signal, fromActive }: VaultRequest, reply: VaultReply): Promise<VaultReply> {
  if (fromActive === true || !mayLag(reply.status, reply.body)) return reply;
  const now = performance.now();
  if (now - node.standby.at > standbyMs) node.standby = { is: await asksStandby(node.pool, signal), at: now };
  if (!node.standby.is) return reply;
  reply.body.fill(0);
  throw notVaultsWord(`a standby says status ${reply.status}`);
}

/** @throws ConfigError when a TLS file cannot be read or used */
export function createVaultTransport(
  { addresses, tls }: Pick<VaultConfig, "addresses" | "tls">,
  log?: Log,
): VaultTransport {
  const connect = createConnect(tls);
  const nodes: readonly Node[] = addresses.map((origin) => ({
    origin,
    pool: new Pool(origin, { connections: connectionsPerAddress, pipelining: 1, keepAliveTimeout: 30_000, connect }),
    standby: { is: false, at: Number.NEGATIVE_INFINITY },
  }));
  const reports = createEndReports({
    down: (address, err) =>
      log?.warn(
        { event: "vault-address-down", address, err },
        "this address does not serve; the others are asked first",
      ),
    up: (address) => log?.info({ event: "vault-address-up", address }, "this address answers again"),
  });
  const pool = createEndpointPool<Node>({
    endpoints: nodes,
    nameOf: ({ origin }) => origin,
    choice: "ordered",
    probe: async (node, signal) => {
      const path = "/v1/sys/health?standbyok=true&perfstandbyok=true";
      const { status } = await ask(node.pool, { method: "GET", path, headers: {}, signal });
      if (status !== 200) throw new KmsError("backend_unavailable", { cause: new Error(`status ${status}`) });
    },
    // What the transport lets pass is Vault's own word, and no error.
    isFault: () => true,
    isBusy: isNotVaultsWord,
    moreSpecific: (a, b) => (specific.indexOf(b.reason) < specific.indexOf(a.reason) ? b : a),
    onChange: ({ origin }, failure) => reports.changed(origin, failure),
  });

  return {
    send: (request) =>
      pool.run({
        attempt: async (node, signal) => {
          const asked = { ...request, signal };
          const isOwn = request.isFresh === true || request.fromActive === true;
          if (!isOwn) return await confirmed(node, asked, await ask(node.pool, asked));
          const own = new Client(node.origin, { connect });
          try {
            if (request.fromActive === true && (await asksStandby(own, signal))) throw notVaultsWord("a standby");
            return await confirmed(node, asked, await ask(own, asked));
          } finally {
            await own.destroy();
          }
        },
        leftMs: longestMs,
        signal: request.signal,
        hedge: false,
        ...(request.isOnce === true && { isUntouched }),
        repeat: false,
        discard: ({ body }) => body.fill(0),
      }),
    addresses: () =>
      pool.states().map(({ endpoint, isUp, latencyMs }) => ({ address: endpoint.origin, isUp, latencyMs })),
    async close() {
      pool.close();
      reports.close();
      await Promise.all(nodes.map(({ pool }) => pool.destroy()));
    },
  };
}
