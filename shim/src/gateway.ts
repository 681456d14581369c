// One gateway: a pool of mTLS connections, and how it has done lately. The only file that imports
// undici. (docs/architecture.md #wire and #shim.)
import { KmsError, parseReason } from "@claviger/proto/wire/errors.ts";
import { contentTypes, headers, limits, livezPath, type Method, methods } from "@claviger/proto/wire/protocol.ts";
import { Pool } from "undici";

/** PEM texts of the shim's certificate and key, and the CA of the gateways. */
export type ClientTls = {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly serverName: string | undefined;
};

export type UpstreamReply = {
  /** Message bytes, the receiver's to zeroize. */
  readonly body: Buffer;
  readonly epoch: string | undefined;
  /** Milliseconds for which the gateway has had no fresh word from its key backend; undefined while it has. */
  readonly staleForMs: number | undefined;
};

export type UpstreamRequest = {
  readonly method: Method;
  readonly body: Uint8Array;
  /** Unix milliseconds */
  readonly deadline: number;
  readonly epoch: string | undefined;
  readonly signal: AbortSignal;
};

export type Gateway = {
  readonly url: string;
  /** @throws KmsError: a reason of the gateway's, or gateway_unavailable for whatever is between us */
  ask(request: UpstreamRequest): Promise<UpstreamReply>;
  /** Resolves when the gateway would serve; makes a connection where there is none. @throws KmsError */
  probe(signal: AbortSignal): Promise<void>;
  /** Lets requests under way finish. */
  close(): Promise<void>;
};

/**
 * Connecting goes on in the background when the call that wanted it has given up: a name server that
 * does not answer for five seconds is slow, and then the connection is there.
 */
const connectMs = 15_000;
/** A gateway keeps idle connections for hours, and so does a shim: handshakes are dear. */
const idleMs = 4 * 3600_000;

function text(value: string | string[] | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

// A gateway of 0.1.0 names a time of its own clock.
function staleForMs(given: Readonly<Record<string, string | string[] | undefined>>): number | undefined {
  const [age, since] = [text(given[headers.staleFor]), text(given[headers.staleSince])];
  const milliseconds = age !== undefined ? Number(age) : since !== undefined ? Date.now() - Number(since) : undefined;
  return milliseconds === undefined || !Number.isFinite(milliseconds) ? undefined : Math.max(0, milliseconds);
}

/** Only what kind of fault it was: undici's errors may hold on to the request. */
function unreachable(error: unknown): KmsError {
  const { code, name } = error as NodeJS.ErrnoException;
  return new KmsError("gateway_unavailable", { cause: new Error(code ?? name) });
}

async function collect(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > limits.batchMessage)
      throw new KmsError("gateway_unavailable", { cause: new Error("a reply that is too large") });
    chunks.push(chunk);
  }
  const all = Buffer.concat(chunks);
  for (const chunk of chunks) chunk.fill(0);
  return all;
}

/** @param traceparent of the trace that we are in, to pass on */
export function createGateway(
  url: string,
  tls: ClientTls,
  traceparent: () => string | undefined = () => undefined,
): Gateway {
  const pool = new Pool(url, {
    connections: 16,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: idleMs,
    keepAliveMaxTimeout: idleMs,
    headersTimeout: 30_000,
    bodyTimeout: 30_000,
    connect: {
      cert: tls.cert,
      key: tls.key,
      ca: tls.ca,
      minVersion: "TLSv1.3",
      timeout: connectMs,
      ...(tls.serverName !== undefined && { servername: tls.serverName }),
    },
  });
  return {
    url,
    async ask({ method, body, deadline, epoch, signal }) {
      const trace = traceparent();
      const reply = await pool
        .request({
          method: "POST",
          path: methods[method],
          headers: {
            "content-type": contentTypes.proto,
            [headers.protocolVersion]: "1",
            [headers.timeout]: String(Math.max(1, deadline - Date.now())),
            ...(trace !== undefined && { [headers.traceparent]: trace }),
            ...(epoch !== undefined && { [headers.epoch]: epoch }),
          },
          body,
          signal,
        })
        .catch((error: unknown) => {
          throw unreachable(error);
        });
      const bytes = await collect(reply.body).catch((error: unknown) => {
        throw error instanceof KmsError
          ? error
          : new KmsError("gateway_unavailable", { cause: new Error("the reply broke off") });
      });
      if (reply.statusCode === 200)
        return {
          body: bytes,
          epoch: text(reply.headers[headers.epoch]),
          staleForMs: staleForMs(reply.headers),
        };
      const reason = parseReason(text(reply.headers[headers.reason]));
      // No reason of ours: some proxy's 502, a foreign server.
      throw reason !== undefined
        ? new KmsError(reason)
        : new KmsError("gateway_unavailable", { cause: new Error(`status ${reply.statusCode}`) });
    },
    async probe(signal) {
      const reply = await pool.request({ method: "GET", path: livezPath, signal }).catch((error: unknown) => {
        throw unreachable(error);
      });
      await reply.body.dump();
      const reason = parseReason(text(reply.headers[headers.reason]));
      // A gateway of 0.1.0 does not know the path, and says so in words of its own.
      if (reply.statusCode === 200 || reason === "method_unknown") return;
      throw reason === undefined
        ? new KmsError("gateway_unavailable", { cause: new Error(`status ${reply.statusCode}`) })
        : new KmsError(reason);
    },
    close: () => pool.close(),
  };
}
