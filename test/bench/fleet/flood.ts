// One cluster that asks for far more than its share, straight at the gateways: connections of its own, each
// with one request after the other. Not a shim: a shim would hold back.
import { randomBytes } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { contentTypes, headers, methods } from "@claviger/proto/wire/protocol.ts";
import { Client } from "undici";
import { startPace } from "../../lab/load.ts";
import type { NodeCertificates } from "./certificates.ts";
import type { Flood, FloodResult, Identity } from "./protocol.ts";

/** Fewer than a gateway lets one identity have. */
const perIdentity = 50;
const callMs = 3000;
/** What may wait for a free connection: a second's worth. */
const backlogSeconds = 1;

type Method = "encrypt" | "decrypt";
type Reply = { readonly outcome: string; readonly body: Uint8Array };

async function call(client: Client, method: Method, body: Uint8Array): Promise<Reply> {
  const reply = await client.request({
    method: "POST",
    path: methods[method],
    headers: {
      "content-type": contentTypes.proto,
      [headers.protocolVersion]: "1",
      [headers.timeout]: String(callMs),
    },
    body,
    headersTimeout: callMs,
  });
  const bytes = await reply.body.bytes();
  const reason = reply.headers[headers.reason];
  return { outcome: typeof reason === "string" ? reason : String(reply.statusCode), body: bytes };
}

function encryptMessage(): Uint8Array {
  return toBinary(
    v2.EncryptRequestSchema,
    create(v2.EncryptRequestSchema, { plaintext: randomBytes(32), uid: "flood" }),
  );
}

function decryptMessage(sealed: Uint8Array): Uint8Array {
  const { ciphertext, keyId } = fromBinary(v2.EncryptResponseSchema, sealed);
  return toBinary(v2.DecryptRequestSchema, create(v2.DecryptRequestSchema, { ciphertext, keyId, uid: "flood" }));
}

function connect(identities: readonly Identity[], connections: number, certificates: NodeCertificates, ca: string) {
  const of = (i: number): Client => {
    const identity = identities[Math.floor(i / perIdentity) % identities.length];
    const url = identity?.gateways[i % identity.gateways.length];
    if (identity === undefined || url === undefined) throw new TypeError("no identities");
    const cert = certificates.issue(identity.cluster, identity.node);
    return new Client(url, { connect: { cert, key: certificates.key, ca } });
  };
  return Array.from({ length: connections }, (_, i) => of(i));
}

export type OpenFlood = {
  /** Half Encrypts and half Decrypts for so long. */
  run(): Promise<FloodResult>;
};

/** Makes the connections, and encrypts once over each. */
export async function openFlood(flood: Flood, certificates: NodeCertificates, ca: string): Promise<OpenFlood> {
  const clients = connect(flood.identities, flood.connections, certificates, ca);
  const replies = await Promise.allSettled(clients.map((client) => call(client, "encrypt", encryptMessage())));
  const sealed = replies.flatMap((reply) =>
    reply.status === "fulfilled" && reply.value.outcome === "200" ? [reply.value.body] : [],
  );
  return { run: () => runFlood(flood, clients, sealed) };
}

async function runFlood(
  { perSecond, seconds }: Flood,
  clients: readonly Client[],
  sealed: readonly Uint8Array[],
): Promise<FloodResult> {
  const outcomes = new Map<string, number>();
  const took: number[] = [];
  const free = [...clients];
  let [sent, due] = [0, 0];
  const one = async (client: Client): Promise<void> => {
    const old = sealed[sent % sealed.length];
    sent += 1;
    const began = performance.now();
    const [method, body] =
      sent % 2 === 0 && old !== undefined
        ? (["decrypt", decryptMessage(old)] as const)
        : (["encrypt", encryptMessage()] as const);
    const { outcome } = await call(client, method, body).catch((error: unknown) => ({
      outcome: (error as NodeJS.ErrnoException).code ?? "unknown",
    }));
    took.push(performance.now() - began);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    free.push(client);
    pump();
  };
  const pump = (): void => {
    while (due > 0 && !isOver) {
      const client = free.shift();
      if (client === undefined) return;
      due -= 1;
      void one(client);
    }
  };
  let isOver = false;
  const pace = startPace(perSecond, () => {
    due = Math.min(due + 1, perSecond * backlogSeconds);
    pump();
    return Promise.resolve();
  });
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  isOver = true;
  await pace.stop();
  await Promise.all(clients.map((client) => client.close()));
  return { sent, seconds, outcomes, took };
}
