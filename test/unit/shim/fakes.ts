// Gateways for the shim's tests: one in memory, behind the Upstream port, and one that speaks HTTPS
// with certificates of a real authority.
import { createServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { TestContext } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Ca, createCa, issueGateway, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { connectCodes, KmsError, type Reason, rowOf } from "@claviger/proto/wire/errors.ts";
import { BatchRequestSchema, BatchResponseSchema, BatchResultSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import {
  DecryptRequestSchema,
  DecryptResponseSchema,
  StatusResponseSchema,
} from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { headers, livezPath } from "@claviger/proto/wire/protocol.ts";
import type { ClientTls, UpstreamReply } from "@claviger/shim/src/gateway.ts";
import type { Metrics } from "@claviger/shim/src/metrics.ts";
import type { LastGood, StateFile } from "@claviger/shim/src/state-file.ts";
import type { Upstream, UpstreamCall } from "@claviger/shim/src/upstream.ts";
import { abortReason, raceAbort } from "@claviger/proto/runtime/abort.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import { pino } from "pino";

export const silent: Log = pino({ level: "silent" });

export const noMetrics: Metrics = {
  started() {},
  finished() {},
  upstreamAsked() {},
  coalesced() {},
  retried() {},
  handshakeFailed() {},
  observeGateways() {},
  observeOutage() {},
  observeCertificates() {},
  observeProcess() {},
  render: () => Promise.resolve(""),
};

export function decryptRequest(ciphertext: string, uid = "u", keyId = "k"): Buffer {
  return Buffer.from(
    toBinary(DecryptRequestSchema, create(DecryptRequestSchema, { ciphertext: Buffer.from(ciphertext), uid, keyId })),
  );
}

/** Answers a Decrypt as the test gateways do: the plaintext is the ciphertext, turned round. */
export function decryptAnswer(request: Uint8Array): Uint8Array {
  const { ciphertext } = fromBinary(DecryptRequestSchema, request);
  return toBinary(
    DecryptResponseSchema,
    create(DecryptResponseSchema, { plaintext: Uint8Array.from(ciphertext).reverse() }),
  );
}

export function plaintextOf(response: Uint8Array): string {
  return Buffer.from(fromBinary(DecryptResponseSchema, response).plaintext).toString();
}

/** Answers a DecryptBatch item by item; a ciphertext that starts with "bad" fails alone. */
export function batchAnswer(body: Uint8Array): Uint8Array {
  const results = fromBinary(BatchRequestSchema, body).requests.map((request) =>
    Buffer.from(fromBinary(DecryptRequestSchema, request).ciphertext).toString().startsWith("bad")
      ? create(BatchResultSchema, { outcome: { case: "reason", value: "ciphertext_invalid" } })
      : create(BatchResultSchema, { outcome: { case: "response", value: decryptAnswer(request) } }),
  );
  return toBinary(BatchResponseSchema, create(BatchResponseSchema, { results }));
}

export function statusBytes(keyId: string, healthz = "ok", version = "v2"): Uint8Array {
  return toBinary(StatusResponseSchema, create(StatusResponseSchema, { version, healthz, keyId }));
}

export function reply(body: Uint8Array, extra: Partial<UpstreamReply> = {}): UpstreamReply {
  return {
    body: Buffer.from(body),
    epoch: undefined,
    staleForMs: undefined,
    ...extra,
  };
}

export type FakeUpstream = Upstream & { readonly calls: UpstreamCall[] };

/** Reasons that no gateway gives: nobody said anything. */
const unsaid: readonly Reason[] = ["gateway_unavailable", "deadline_exceeded", "canceled"];
const never = new AbortController().signal;

/**
 * An Upstream in memory that records what is asked of it; the recorded body is a copy.
 * @param answer of the gateway. What it throws is the gateway's refusal, but for gateway_unavailable and
 * the ends of a call: then there was no gateway. Its `signal` ends with the caller or his time.
 */
export function createFakeUpstream(
  answer: (call: UpstreamCall) => UpstreamReply | Promise<UpstreamReply>,
  first: readonly string[] = [],
): FakeUpstream {
  const calls: UpstreamCall[] = [];
  const closing = new AbortController();
  let urls = first;
  return {
    calls,
    async call(call) {
      const { method, body, accept, deadline } = call;
      const over = AbortSignal.timeout(Math.max(0, deadline - steadyNow()));
      const signal = AbortSignal.any([call.signal ?? never, closing.signal, over]);
      if (signal.aborted) throw abortReason(signal);
      calls.push({ ...call, body: Buffer.from(body) });
      const said = (async () => await answer({ ...call, signal }))().catch((thrown: unknown) => {
        if (thrown instanceof KmsError && !signal.aborted && !unsaid.includes(thrown.reason))
          accept?.({ method, epoch: undefined, reason: thrown.reason });
        throw thrown;
      });
      const given = await raceAbort(said, signal).catch((thrown: unknown) => {
        // Whoever has left is told so, whatever became of his call; what comes for him later is zeroized.
        said.then((late) => late.body.fill(0)).catch(() => {});
        if (!signal.aborted) throw thrown;
        const { reason } = abortReason(signal);
        throw new KmsError(over.aborted && method === "status" ? "gateway_unavailable" : reason);
      });
      accept?.({ method, epoch: given.epoch });
      return given;
    },
    configure(next) {
      urls = next;
    },
    gateways: () => urls.map((url) => ({ url, problem: undefined })),
    close() {
      closing.abort(new KmsError("gateway_unavailable"));
      return Promise.resolve();
    },
  };
}

export type FakeStateFile = StateFile & {
  /** What was saved last. */
  saved: LastGood | undefined;
  /** While true nothing more is saved, and nobody is told: as on a disk that is full. */
  isProtected: boolean;
};

/**
 * A state file in memory.
 * @param now Unix milliseconds of the clock that `goodAt` is measured by
 */
export function createFakeStateFile(first?: LastGood, now: () => number = Date.now): FakeStateFile {
  const fake: FakeStateFile = {
    saved: first,
    isProtected: false,
    load: () =>
      fake.saved && { ...fake.saved, goodAt: Math.min(fake.saved.goodAt, now()), refused: fake.saved.refused },
    save(last) {
      if (!fake.isProtected) fake.saved = last;
    },
    forget() {
      const last = fake.load();
      if (last?.epoch === undefined) return false;
      fake.save({ ...last, epoch: undefined });
      return true;
    },
  };
  return fake;
}

/** The reason of a rejection. */
export async function reasonOf(promise: Promise<unknown>): Promise<Reason | undefined> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof KmsError) return error.reason;
    throw error;
  }
  return undefined;
}

/**
 * The certificates of a fleet: one authority, a node's client side, and server sides as asked for.
 */
export async function createFleet(ca?: Ca) {
  const authority = ca ?? (await createCa({ trustDomain: "fleet.test" }));
  const node = await issueNode({ ca: authority, cluster: "prod", node: "cp-1" });
  const server = await issueGateway({ ca: authority, ips: ["127.0.0.1"] });
  const tls: ClientTls = {
    cert: node.cert,
    key: node.key.use((text) => text),
    ca: authority.cert,
    serverName: undefined,
  };
  return { ca: authority, tls, server: { cert: server.cert, key: server.key.use((text) => text) } };
}
export type Fleet = Awaited<ReturnType<typeof createFleet>>;

export type Asked = {
  readonly path: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
};
export type Answer = {
  readonly body?: Uint8Array;
  readonly reason?: Reason;
  readonly status?: number;
  readonly headers?: Record<string, string>;
};

/**
 * A gateway over HTTPS that demands a client certificate; closed with the test. Probes are not among
 * what it was asked; they take as long as an answer, and end as well as a real gateway's do, unless
 * the answer has a status of its own.
 */
export async function startGateway(
  t: Pick<TestContext, "after">,
  fleet: Fleet,
  answer: (asked: Asked) => Answer | Promise<Answer>,
) {
  const asked: Asked[] = [];
  const server = createServer(
    { ...fleet.server, ca: fleet.ca.cert, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" },
    (request, response) => {
      const serve = async (): Promise<void> => {
        const chunks: Buffer[] = [];
        for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
        const one = { path: request.url ?? "", headers: request.headers, body: Buffer.concat(chunks) };
        if (one.path === livezPath) {
          const { status } = await answer(one);
          response.writeHead(status ?? 200).end();
          return;
        }
        asked.push(one);
        const { body, reason, status, headers: extra } = await answer(one);
        const code = status ?? (reason === undefined ? 200 : connectCodes[rowOf(reason).connect].http);
        response.writeHead(code, {
          "content-type": "application/proto",
          ...(reason !== undefined && { [headers.reason]: reason }),
          ...extra,
        });
        response.end(body);
      };
      serve().catch(() => response.destroy());
    },
  );
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      // In the middle of a handshake as well, which `closeAllConnections` leaves alone.
      for (const socket of sockets) socket.destroy();
    });
  t.after(stop);
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, stop };
}
