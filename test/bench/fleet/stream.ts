// Requests straight at the gateways at a pace of their own, over connections that stay and, now and then,
// over new ones. Not a shim: no batches, no hedges, nothing asked twice, so a failure is a failure. Each
// Encrypt carries the deadline of its caller in its plaintext: what reaches Vault tells whether it was late.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { KmsError, parseReason } from "@claviger/proto/wire/errors.ts";
import { contentTypes, headers, methods } from "@claviger/proto/wire/protocol.ts";
import { Client } from "undici";
import { startPace } from "../../lab/load.ts";
import type { NodeCertificates } from "./certificates.ts";
import { plaintextOf } from "./deadlines.ts";
import type { Identity, Stream } from "./protocol.ts";
import type { Recorder } from "./recorder.ts";

type Caller = {
  readonly identity: Identity;
  readonly open: () => Client;
  readonly client: Client;
  /** What was encrypted over it, and the Decrypt of that. */
  sealed: { readonly plaintext: Buffer; readonly message: Uint8Array } | undefined;
};

export type RunningStream = {
  /** Waits for the requests under way. How many were held back, because too many waited. */
  stop(): Promise<number>;
};

/** Unix milliseconds, as OpenBao on the same machine has them. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

const partingMs = 1000;

/** @param deadline Unix milliseconds */
async function call(
  client: Client,
  method: "encrypt" | "decrypt",
  body: Uint8Array,
  deadline: number,
): Promise<Uint8Array> {
  const left = Math.floor(deadline - now());
  if (left < 1) throw new KmsError("deadline_exceeded", { cause: new Error("it waited for a connection too long") });
  // Who gives up takes the connection along, and a handshake costs ten requests: the gateway is given a
  // moment to say itself that the time is over. What comes then is too late all the same.
  const signal = AbortSignal.timeout(left + partingMs);
  try {
    const reply = await client.request({
      method: "POST",
      path: methods[method],
      headers: {
        "content-type": contentTypes.proto,
        [headers.protocolVersion]: "1",
        [headers.timeout]: String(left),
      },
      body,
      signal,
    });
    const bytes = await reply.body.bytes();
    if (reply.statusCode === 200 && now() <= deadline) return bytes;
    if (reply.statusCode === 200) throw new KmsError("deadline_exceeded", { cause: new Error("answered too late") });
    const reason = reply.headers[headers.reason];
    throw new KmsError(parseReason(typeof reason === "string" ? reason : undefined) ?? "gateway_unavailable");
  } catch (thrown) {
    if (thrown instanceof KmsError) throw thrown;
    throw new KmsError(signal.aborted ? "deadline_exceeded" : "gateway_unavailable", { cause: thrown });
  }
}

async function encrypt(caller: Caller, client: Client, deadline: number): Promise<void> {
  const plaintext = plaintextOf(deadline);
  const request = toBinary(v2.EncryptRequestSchema, create(v2.EncryptRequestSchema, { plaintext, uid: "stream" }));
  const { ciphertext, keyId } = fromBinary(v2.EncryptResponseSchema, await call(client, "encrypt", request, deadline));
  const message = create(v2.DecryptRequestSchema, { ciphertext, keyId, uid: "stream" });
  caller.sealed = { plaintext, message: toBinary(v2.DecryptRequestSchema, message) };
}

async function decrypt({ sealed }: Caller, client: Client, deadline: number): Promise<void> {
  if (sealed === undefined) throw new TypeError("nothing was encrypted");
  const reply = await call(client, "decrypt", sealed.message, deadline);
  const { plaintext } = fromBinary(v2.DecryptResponseSchema, reply);
  if (!sealed.plaintext.equals(plaintext)) throw new TypeError("a wrong plaintext");
}

type Tls = { readonly certificates: NodeCertificates; readonly ca: string };

/** The callers of nodes in turn, each at the next gateway. */
function callersOf(count: number, identities: readonly Identity[], { certificates, ca }: Tls): readonly Caller[] {
  const certs = identities.map(({ cluster, node }) => certificates.issue(cluster, node));
  return Array.from({ length: count }, (_, i) => {
    const place = i % identities.length;
    const identity = identities[place];
    const url = identity?.gateways[(place + Math.floor(i / identities.length)) % identity.gateways.length];
    if (identity === undefined || url === undefined) throw new TypeError("no identities");
    const tls = { cert: certs[place] ?? "", key: certificates.key, ca, maxCachedSessions: 0 };
    const open = (): Client => new Client(url, { connect: tls });
    return { identity, open, client: open(), sealed: undefined };
  });
}

/** More handshakes at once would take longer than a request has. */
const atOnce = 16;
const warmRequests = 1800;
const warmMs = 10_000;

/** Makes all connections, encrypts once over each, and starts. */
export async function openStream(
  { perSecond, connections, freshEvery, waiting: most, deadlines }: Stream,
  identities: readonly Identity[],
  tls: Tls,
  recorder: Recorder,
): Promise<RunningStream> {
  const callers = callersOf(connections, identities, tls);
  // Further rounds for the compilers: programs that have just started are not what is measured.
  const rounds = Math.max(1, Math.floor(warmRequests / callers.length));
  for (let round = 0; round < rounds; round += 1)
    for (let at = 0; at < callers.length; at += atOnce)
      await Promise.all(callers.slice(at, at + atOnce).map((caller) => encrypt(caller, caller.client, now() + warmMs)));
  const free = [...callers];
  const waiting: ((caller: Caller) => void)[] = [];
  let heldBack = 0;

  const release = (caller: Caller): void => {
    const next = waiting.shift();
    if (next === undefined) free.push(caller);
    else next(caller);
  };
  /** A connection for one request alone, its handshake within the request's time. */
  const afresh = async (caller: Caller, run: (client: Client) => Promise<void>): Promise<void> => {
    const client = caller.open();
    try {
      await run(client);
    } finally {
      await client.destroy();
    }
  };
  const one = async (n: number): Promise<void> => {
    if (free.length === 0 && waiting.length >= most) {
      heldBack += 1;
      return;
    }
    const deadline = now() + (deadlines[n % deadlines.length] ?? 0);
    const [kind, run] = n % 2 === 0 ? (["decrypt", decrypt] as const) : (["encrypt", encrypt] as const);
    // A call is not known by its node before a connection is free: the first one stands for it.
    await recorder.measure(kind, identities[0]?.index ?? 0, async () => {
      const caller = free.shift() ?? (await new Promise<Caller>((resolve) => waiting.push(resolve)));
      try {
        // Of both kinds where the number is odd.
        if (freshEvery > 0 && n % freshEvery === 0) await afresh(caller, (client) => run(caller, client, deadline));
        else await run(caller, caller.client, deadline);
      } finally {
        release(caller);
      }
    });
  };
  const pace = startPace(perSecond, one);
  return {
    async stop() {
      await pace.stop();
      await Promise.all(callers.map(({ client }) => client.destroy()));
      return heldBack;
    },
  };
}
