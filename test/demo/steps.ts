// What the demo shows, step by step. Each step verifies what it says: a demo that goes wrong ends
// with an error.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { toBinary, create } from "@bufbuild/protobuf";
import { DecryptRequestSchema } from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { contentTypes, headers, methods } from "@claviger/proto/wire/protocol.ts";
import { GrpcError } from "@claviger/cli/src/grpc.ts";
import type { KmsClient } from "@claviger/cli/src/kms-client.ts";
import type { KeyPair } from "@claviger/gateway-core/src/pki/authority.ts";
import { type Apiserver, createApiserver } from "./apiserver.ts";
import { send } from "./https.ts";
import { ours, other, type Fleet } from "./setup.ts";
import { decodeStored } from "./stored.ts";
import type { Output } from "./output.ts";

export type Demo = {
  readonly output: Output;
  readonly fleet: Fleet;
  readonly kms: KmsClient;
  readonly gatewayUrl: string;
  /** Where the KEK is, as the end of a sentence. */
  readonly keyPlace: string;
  /** Runs a `claviger` command and shows it with what it prints. */
  readonly claviger: (...args: readonly string[]) => Promise<void>;
  /** Aborts the remaining steps. */
  readonly signal: AbortSignal;
};

const provider = "claviger";
const password = "correct horse battery staple";
function secret(name: string): { readonly etcdKey: string; readonly object: Buffer } {
  return {
    etcdKey: `/registry/secrets/default/${name}`,
    object: Buffer.from(
      JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata: { name }, stringData: { password } }),
    ),
  };
}

const waitMs = 20_000;

function assert(isTrue: boolean, what: string): void {
  if (!isTrue) throw new Error(`the demo saw what must not be: ${what}`);
}

function short(keyId: string): string {
  return `${keyId.slice(0, 17)}…`;
}

/** Asks until the answer is the one that was waited for; resolves with the time that it took. */
async function until({ signal }: Demo, what: string, isSo: () => Promise<boolean>): Promise<number> {
  const start = performance.now();
  while (!(await isSo())) {
    if (performance.now() - start > waitMs) throw new Error(`${what} was not seen within ${waitMs / 1000} s`);
    await sleep(100, undefined, { signal });
  }
  return Math.round(performance.now() - start);
}

async function refusal(call: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    if (error instanceof GrpcError) return error.message;
    throw error;
  }
}

async function start(demo: Demo, apiserver: Apiserver): Promise<string> {
  const { output, kms, keyPlace } = demo;
  output.step("A kube-apiserver starts: it asks Status, then has a new DEK seed encrypted");
  const ready = await until(demo, "a healthy Status", async () => (await refusal(() => kms.status())) === undefined);
  const { keyId, healthz, ciphertextLength } = await apiserver.poll();
  assert(healthz === "ok", "an unhealthy Status");
  output.fact("Status", `healthz ${healthz}, key_id ${keyId}${ready > 200 ? ` (after ${ready} ms)` : ""}`);
  output.fact(
    "Encrypt",
    `32 random bytes (the seed) became ${ciphertextLength}, bound to cluster ${ours} and this key_id`,
  );
  output.say(`The seed went shim → gateway over mutual TLS and was encrypted under a key that is ${keyPlace}.`);
  output.say("The shim has a certificate and nothing else: no key, no Vault token.");
  return keyId;
}

function writeSecret({ output }: Demo, apiserver: Apiserver): Uint8Array {
  output.step("A Secret is created: encrypted with a key derived from the seed, as KMS v2 does");
  const { etcdKey, object } = secret("database");
  const stored = apiserver.write(etcdKey, object);
  const { keyId, encryptedDekSource, encryptedData } = decodeStored(stored);
  assert(!Buffer.from(stored).includes(password), "the password in etcd");
  output.fact("etcd key", etcdKey);
  output.fact("etcd value", `${Buffer.from(stored).subarray(0, 24).toString()}… (${stored.length} bytes)`);
  output.fact(
    "in it",
    `key_id ${short(keyId)} · encrypted seed, ${encryptedDekSource.length} bytes · encrypted Secret, ${encryptedData.length} bytes`,
  );
  output.fact("not in it", "the password (looked for), the seed, any key");
  return stored;
}

async function readAfterRestart({ output, kms }: Demo, name: string, stored: Uint8Array): Promise<void> {
  const { object, kmsCalls } = await createApiserver({ kms, provider }).read(secret(name).etcdKey, stored);
  assert(object.includes(password) && kmsCalls === 1, "another Secret than was written");
  output.fact(`read ${name}`, `${kmsCalls} Decrypt, then: ${object.toString()}`);
}

async function rotate(demo: Demo, apiserver: Apiserver, stored: Uint8Array, oldKeyId: string): Promise<void> {
  const { output, kms, claviger } = demo;
  output.step("The key is rotated; nothing is restarted");
  await claviger("key", "rotate", ours);
  let keyId = oldKeyId;
  const ms = await until(demo, "a new key_id", async () => {
    ({ keyId } = await kms.status());
    return keyId !== oldKeyId;
  });
  output.fact("Status", `key_id changed after ${ms} ms: ${short(oldKeyId)} → ${short(keyId)}`);
  const { isNew } = await apiserver.poll();
  assert(isNew, "no new seed after a rotation");
  const { etcdKey, object } = secret("fresh");
  const fresh = apiserver.write(etcdKey, object);
  assert(decodeStored(fresh).keyId === keyId, "a new Secret under the old key_id");
  output.fact("new Secret", `${etcdKey} carries the new key_id`);
  output.say("The apiserver restarts, with nothing in memory, and reads both:");
  await readAfterRestart(demo, "database", stored);
  await readAfterRestart(demo, "fresh", fresh);
}

async function callAs({ gatewayUrl, fleet }: Demo, pair: KeyPair, stored: Uint8Array): Promise<string> {
  const { encryptedDekSource, keyId } = decodeStored(stored);
  const body = toBinary(
    DecryptRequestSchema,
    create(DecryptRequestSchema, { ciphertext: encryptedDekSource, keyId, uid: "thief" }),
  );
  const answer = await pair.key.use((pem) =>
    send({
      url: `${gatewayUrl}${methods.decrypt}`,
      headers: { "content-type": contentTypes.proto, [headers.protocolVersion]: "1" },
      body,
      tls: { ca: fleet.ca, cert: pair.cert, key: pem },
    }),
  );
  assert(answer.status >= 400, "a stranger who was served");
  const { [headers.handshake]: handshake } = answer.headers;
  if (typeof handshake === "string") throw Object.assign(new Error("not let in"), { code: handshake });
  const { code, message } = JSON.parse(answer.body.toString()) as { readonly code: string; readonly message: string };
  return `HTTP ${answer.status}, ${code}: ${message}`;
}

async function strangers(demo: Demo, stored: Uint8Array): Promise<void> {
  const { output, fleet } = demo;
  output.step(`Somebody else takes ${ours}'s etcd value to the gateway`);
  output.fact("as a node of", `${other}, another cluster of the fleet, on the very same key`);
  output.fact("refused", await callAs(demo, fleet.otherCluster, stored));
  output.fact("with a forgery", `a certificate that says ${ours}, from an authority that is not the fleet's`);
  const failure = await callAs(demo, fleet.stranger, stored).catch(
    (error: unknown) => (error as NodeJS.ErrnoException).code ?? "connection closed",
  );
  assert(!failure.startsWith("HTTP 2"), "a forged certificate that was served");
  output.fact("refused", `in the TLS handshake (${failure})`);
}

async function suspend(demo: Demo, stored: Uint8Array): Promise<void> {
  const { output, kms, claviger } = demo;
  output.step(`Cluster ${ours} is suspended, as it would be when its nodes are compromised`);
  await claviger("cluster", "suspend", ours);
  const ms = await until(demo, "the refusal", async () => (await refusal(() => kms.status())) !== undefined);
  output.fact("Status", `refused after ${ms} ms: ${(await refusal(() => kms.status())) ?? ""}`);
  const { encryptedDekSource, keyId } = decodeStored(stored);
  const refused = await refusal(() => kms.decrypt({ ciphertext: encryptedDekSource, keyId, uid: "suspended" }));
  assert(refused !== undefined, "a suspended cluster that could decrypt");
  output.fact("Decrypt", `refused: ${refused ?? ""}`);
  await claviger("cluster", "resume", ours);
  const back = await until(demo, "the service", async () => (await refusal(() => kms.status())) === undefined);
  output.fact("Status", `healthz ok again after ${back} ms`);
  await readAfterRestart(demo, "database", stored);
}

type AuditRecord = Readonly<
  Partial<Record<"time" | "cluster" | "node" | "serial" | "method" | "outcome" | "reason", string>>
>;

async function auditTrail({ output, fleet }: Demo): Promise<void> {
  output.step("All of it is in the audit log: one record per request, refusals included");
  const records = (await readFile(fleet.audit, "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as AuditRecord);
  const refused = records.filter(({ outcome }) => outcome !== "ok");
  assert(records.length > 0 && refused.length > 0, "an audit log without records");
  output.fact("records", `${records.length}, of them ${refused.length} not ok, in ${fleet.audit}`);
  const theft = refused.find(({ cluster }) => cluster === other);
  assert(theft !== undefined, `no record of what ${other} tried`);
  const { time, cluster, node, method, outcome, reason, serial } = theft ?? {};
  output.fact(
    "one of them",
    JSON.stringify({ time, cluster, node, serial, method, outcome, reason }).replaceAll(",", ", "),
  );
}

/** Runs all steps. */
export async function runSteps(demo: Demo): Promise<void> {
  const apiserver = createApiserver({ kms: demo.kms, provider });
  const keyId = await start(demo, apiserver);
  const stored = writeSecret(demo, apiserver);
  demo.output.step("The kube-apiserver restarts and has forgotten the seed");
  await readAfterRestart(demo, "database", stored);
  await rotate(demo, apiserver, stored, keyId);
  await strangers(demo, stored);
  await suspend(demo, stored);
  await auditTrail(demo);
}
