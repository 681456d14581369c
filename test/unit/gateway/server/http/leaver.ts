// A gateway whose backend, registry and audit sink wait until they are told to go on, and a view of
// every buffer in it that may hold key material. For tests of callers that leave.
import assert from "node:assert/strict";
import { IncomingMessage, ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { type TestContext } from "node:test";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { once } from "node:events";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createDispatcher } from "@claviger/gateway-server/src/backend/dispatch.ts";
import type { ListenLimits } from "@claviger/gateway-server/src/http/limits.ts";
import { createKeyRing } from "@claviger/gateway-server/src/keys/key-ring.ts";
import { createNoOpKeyCache } from "@claviger/gateway-server/src/keys/shared-key-cache.ts";
import { createKmsService, type KmsService } from "@claviger/gateway-server/src/kms/service.ts";
import { createMetrics } from "@claviger/gateway-server/src/metrics.ts";
import { raceAbort } from "@claviger/proto/runtime/abort.ts";
import { RequestScope } from "@claviger/proto/runtime/request-scope.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { until } from "../../../../lab/process-group.ts";
import { createFakeSink } from "../../core/audit/fakes.ts";
import { cluster, createFakeBackend, silent } from "../../fakes.ts";
import { ca, type Line, nodePair, registryOf, start } from "./harness.ts";

/** Something that is waited for while it is shut. */
function createGate() {
  let opened = Promise.withResolvers<void>();
  let waiting = 0;
  const gate = {
    isShut: false,
    /** Resolves when so many wait. */
    reached: async (count: number): Promise<void> => {
      await until(`${count} to wait`, undefined, () => (waiting >= count ? true : undefined));
    },
    /** Lets those pass that wait. */
    next(): void {
      opened.resolve();
      opened = Promise.withResolvers();
      waiting = 0;
    },
    open(): void {
      gate.isShut = false;
      gate.next();
    },
    async pass(signal: AbortSignal = new AbortController().signal): Promise<void> {
      if (!gate.isShut) return;
      waiting += 1;
      await raceAbort(opened.promise, signal);
    },
  };
  return gate;
}

/** The uid of whoever does not leave. */
const stayer = "stayer";

/** Buffers that were seen to hold something, and whether one of them held the secret. */
export type Seen = { readonly buffers: Uint8Array[]; heldSecret: boolean };

/** Sees bodies as they come in, what scopes are to zeroize, and what leaves. */
function watchBuffers(t: TestContext, secret: Buffer): Seen {
  const seen: Seen = { buffers: [], heldSecret: false };
  const see = (bytes: unknown): void => {
    if (!(bytes instanceof Uint8Array)) return;
    seen.buffers.push(bytes);
    seen.heldSecret ||= Buffer.from(bytes).includes(secret);
  };
  // The real methods, with the bytes that they are given noted first.
  for (const [owner, name] of [
    [IncomingMessage.prototype, "push"],
    [RequestScope.prototype, "zeroizeLater"],
    [ServerResponse.prototype, "end"],
  ] as const) {
    const real = Reflect.get(owner, name) as (...args: unknown[]) => unknown;
    t.mock.method(owner as never, name as never, function (this: unknown, ...args: unknown[]) {
      see(args[0]);
      return Reflect.apply(real, this, args);
    });
  }
  return seen;
}

export async function startLeavable(
  t: TestContext,
  {
    secret,
    limits,
    decrypt,
  }: {
    readonly secret: Buffer;
    readonly limits?: ListenLimits;
    /** In place of the service's own. */
    readonly decrypt?: KmsService["decrypt"];
  },
) {
  const gates = { backend: createGate(), registry: createGate(), key: createGate(), audit: createGate() };
  const fake = createFakeBackend();
  fake.before = async (operation) => {
    if (operation === "describe") await gates.key.pass();
  };
  /** Calls that the backend has been given, with the number of their items and how they ended. */
  const backendCalls: { readonly items: number; readonly signal: AbortSignal }[] = [];
  const backend: typeof fake = {
    ...fake,
    async wrap(key, items, signal) {
      backendCalls.push({ items: items.length, signal });
      await gates.backend.pass(signal);
      return await fake.wrap(key, items, signal);
    },
    async unwrap(key, items, signal) {
      backendCalls.push({ items: items.length, signal });
      await gates.backend.pass(signal);
      const outcomes = await fake.unwrap(key, items, signal);
      for (const outcome of outcomes) if (outcome.ok) seen.buffers.push(outcome.value.plaintext);
      return outcomes;
    },
  };
  const record = cluster({ limits: { requestsPerSecond: 10_000 } });
  const ring = createKeyRing({
    backends: new Map([[backend.name, backend]]),
    using: () => [record],
    sharedCache: createNoOpKeyCache(),
    refreshMs: 3_600_000,
    canaryMs: 3_600_000,
    log: silent,
  });
  t.after(() => ring.close());
  let keyReads = 0;
  const sink = createFakeSink<Line>("gated");
  sink.before = () => gates.audit.pass();
  const metrics = createMetrics();
  const service = createKmsService({
    ring: {
      ...ring,
      refreshed(of) {
        keyReads += 1;
        return ring.refreshed(of);
      },
    },
    // One call at a time, so that there is a queue to wait in.
    dispatchers: new Map([[backend.name, createDispatcher({ backend, maxInFlightPerKey: 1 })]]),
    observations: { record: () => {} },
  });
  const gateway = await start(t, {
    service: { ...service, ...(decrypt !== undefined && { decrypt }) },
    registry: { ...registryOf([record]), refresh: () => gates.registry.pass() },
    sink,
    metrics,
    ...(limits !== undefined && { limits }),
  });
  const { post } = gateway;
  const seen = watchBuffers(t, secret);
  const gauges = async () => {
    const page = await metrics.render();
    const read = (name: string): number =>
      Number(new RegExp(`^claviger_gateway_${name}(?:\\{[^}]*\\})? (\\S+)`, "m").exec(page)?.[1] ?? Number.NaN);
    return { inFlight: read("requests_in_flight"), connections: read("connections") };
  };
  return {
    port: gateway.port,
    gates,
    backendCalls,
    /** How often a call has had its key read again. */
    keyReads: () => keyReads,
    seen,
    gauges,
    /** Those of the caller that leaves. */
    records: () => sink.records.filter(({ uids }) => uids?.includes(stayer) !== true),
    encrypt: async (plaintext: Uint8Array): Promise<{ readonly ciphertext: Uint8Array; readonly keyId: string }> => {
      const { status, body } = await post(methods.encrypt, encryptOf(plaintext, stayer));
      assert.equal(status, 200);
      return fromBinary(v2.EncryptResponseSchema, body);
    },
    decrypt: async (ciphertext: Uint8Array, keyId: string): Promise<Buffer> => {
      const { status, body } = await post(methods.decrypt, decryptOf(ciphertext, keyId, stayer));
      assert.equal(status, 200);
      return Buffer.from(fromBinary(v2.DecryptResponseSchema, body).plaintext);
    },
    /** Forgets what was seen so far. */
    forget: (): void => {
      seen.buffers.length = 0;
      seen.heldSecret = false;
      backendCalls.length = 0;
    },
    waitForInFlight: async (count: number): Promise<void> => {
      await until(`${count} requests in flight`, undefined, async () =>
        (await gauges()).inFlight === count ? true : undefined,
      );
    },
    /** Resolves when a buffer in the gateway has held the secret. */
    waitForSecret: async (): Promise<void> => {
      await until("the secret to arrive", undefined, () => (seen.heldSecret ? true : undefined));
    },
  };
}

/** A connection of the node's, under its test's control down to TCP. Reads nothing by itself. */
export type Caller = { readonly tcp: Socket; readonly tls: TLSSocket };

export async function connectCaller(t: TestContext, port: number): Promise<Caller> {
  const tcp = connect({ host: "127.0.0.1", port, noDelay: true });
  const tls = tlsConnect({ socket: tcp, host: "127.0.0.1", ca: ca.cert, ...nodePair });
  tcp.on("error", () => {});
  tls.on("error", () => {});
  t.after(() => tcp.destroy());
  await once(tls, "secureConnect");
  return { tcp, tls };
}

export function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** The bytes of an HTTP request. */
export function requestOf(path: string, body: Uint8Array, headers: Readonly<Record<string, string>> = {}): Buffer {
  const lines = Object.entries({
    host: "x",
    "content-type": "application/proto",
    "content-length": String(body.length),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.join("")}\r\n`), body]);
}

export function encryptOf(plaintext: Uint8Array, uid = "leaver"): Uint8Array {
  return toBinary(v2.EncryptRequestSchema, create(v2.EncryptRequestSchema, { plaintext, uid }));
}

export function decryptOf(ciphertext: Uint8Array, keyId: string, uid = "leaver"): Uint8Array {
  return toBinary(v2.DecryptRequestSchema, create(v2.DecryptRequestSchema, { ciphertext, keyId, uid }));
}
