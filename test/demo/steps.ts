// What the demo shows, scene by scene. Each scene makes sure of what it says: a demo that goes
// wrong ends with an error.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { toBinary, create } from "@bufbuild/protobuf";
import { DecryptRequestSchema } from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { contentTypes, headers, methods } from "@claviger/proto/wire/protocol.ts";
import { GrpcError, type KmsClient } from "@claviger/cli/src/kms-client.ts";
import type { KeyPair } from "@claviger/gateway-core/src/pki/authority.ts";
import { type Apiserver, createApiserver } from "./apiserver.ts";
import { send } from "./https.ts";
import { ours, other, type Site } from "./setup.ts";
import { decodeStored } from "./stored.ts";
import type { Story } from "./output.ts";

export type Stage = {
  readonly story: Story;
  readonly site: Site;
  readonly kms: KmsClient;
  readonly gatewayUrl: string;
  /** Where the KEK is, as the end of a sentence. */
  readonly keyPlace: string;
  /** Runs a `claviger` command and shows it with what it prints. */
  readonly claviger: (...args: readonly string[]) => Promise<void>;
  /** Ends the play early. */
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
async function until({ signal }: Stage, what: string, isSo: () => Promise<boolean>): Promise<number> {
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

async function start(stage: Stage, apiserver: Apiserver): Promise<string> {
  const { story, kms, keyPlace } = stage;
  story.step("A kube-apiserver starts: it asks Status, then has a new DEK seed encrypted");
  const ready = await until(stage, "a healthy Status", async () => (await refusal(() => kms.status())) === undefined);
  const { keyId, healthz, ciphertextLength } = await apiserver.poll();
  assert(healthz === "ok", "an unhealthy Status");
  story.fact("Status", `healthz ${healthz}, key_id ${keyId}${ready > 200 ? ` (after ${ready} ms)` : ""}`);
  story.fact(
    "Encrypt",
    `32 random bytes (the seed) became ${ciphertextLength}, bound to cluster ${ours} and this key_id`,
  );
  story.say(`The seed went shim → gateway over mutual TLS and was encrypted under a key that is ${keyPlace}.`);
  story.say("The shim has a certificate and nothing else: no key, no Vault token.");
  return keyId;
}

function writeSecret({ story }: Stage, apiserver: Apiserver): Uint8Array {
  story.step("A Secret is created: sealed with a key derived from the seed, as KMS v2 does");
  const { etcdKey, object } = secret("database");
  const stored = apiserver.write(etcdKey, object);
  const { keyId, encryptedDekSource, encryptedData } = decodeStored(stored);
  assert(!Buffer.from(stored).includes(password), "the password in etcd");
  story.fact("etcd key", etcdKey);
  story.fact("etcd value", `${Buffer.from(stored).subarray(0, 24).toString()}… (${stored.length} bytes)`);
  story.fact(
    "in it",
    `key_id ${short(keyId)} · encrypted seed, ${encryptedDekSource.length} bytes · sealed Secret, ${encryptedData.length} bytes`,
  );
  story.fact("not in it", "the password (looked for), the seed, any key");
  return stored;
}

async function readAfterRestart({ story, kms }: Stage, name: string, stored: Uint8Array): Promise<void> {
  const { object, kmsCalls } = await createApiserver({ kms, provider }).read(secret(name).etcdKey, stored);
  assert(object.includes(password) && kmsCalls === 1, "another Secret than was written");
  story.fact(`read ${name}`, `${kmsCalls} Decrypt, then: ${object.toString()}`);
}

async function rotate(stage: Stage, apiserver: Apiserver, stored: Uint8Array, oldKeyId: string): Promise<void> {
  const { story, kms, claviger } = stage;
  story.step("The key is rotated; nobody restarts anything");
  await claviger("key", "rotate", ours);
  let keyId = oldKeyId;
  const ms = await until(stage, "a new key_id", async () => {
    ({ keyId } = await kms.status());
    return keyId !== oldKeyId;
  });
  story.fact("Status", `key_id changed after ${ms} ms: ${short(oldKeyId)} → ${short(keyId)}`);
  const { isNew } = await apiserver.poll();
  assert(isNew, "no new seed after a rotation");
  const { etcdKey, object } = secret("fresh");
  const fresh = apiserver.write(etcdKey, object);
  assert(decodeStored(fresh).keyId === keyId, "a new Secret under the old key_id");
  story.fact("new Secret", `${etcdKey} carries the new key_id`);
  story.say("The apiserver restarts, with nothing in memory, and reads both:");
  await readAfterRestart(stage, "database", stored);
  await readAfterRestart(stage, "fresh", fresh);
}

async function knock({ gatewayUrl, site }: Stage, pair: KeyPair, stored: Uint8Array): Promise<string> {
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
      tls: { ca: site.ca, cert: pair.cert, key: pem },
    }),
  );
  assert(answer.status >= 400, "a stranger who was served");
  const { code, message } = JSON.parse(answer.body.toString()) as { readonly code: string; readonly message: string };
  return `HTTP ${answer.status}, ${code}: ${message}`;
}

async function strangers(stage: Stage, stored: Uint8Array): Promise<void> {
  const { story, site } = stage;
  story.step(`Somebody else takes ${ours}'s etcd value to the gateway`);
  story.fact("as a node of", `${other}, another cluster of the fleet, on the very same key`);
  story.fact("refused", await knock(stage, site.otherCluster, stored));
  story.fact("with a forgery", `a certificate that says ${ours}, from an authority that is not the fleet's`);
  const failure = await knock(stage, site.stranger, stored).catch(
    (error: unknown) => (error as NodeJS.ErrnoException).code ?? "connection closed",
  );
  assert(!failure.startsWith("HTTP 2"), "a forged certificate that was served");
  story.fact("refused", `in the TLS handshake (${failure})`);
}

async function suspend(stage: Stage, stored: Uint8Array): Promise<void> {
  const { story, kms, claviger } = stage;
  story.step(`Cluster ${ours} is suspended: its nodes are taken over, say`);
  await claviger("cluster", "suspend", ours);
  const ms = await until(stage, "the refusal", async () => (await refusal(() => kms.status())) !== undefined);
  story.fact("Status", `refused after ${ms} ms: ${(await refusal(() => kms.status())) ?? ""}`);
  const { encryptedDekSource, keyId } = decodeStored(stored);
  const refused = await refusal(() => kms.decrypt({ ciphertext: encryptedDekSource, keyId, uid: "suspended" }));
  assert(refused !== undefined, "a suspended cluster that could decrypt");
  story.fact("Decrypt", `refused: ${refused ?? ""}`);
  await claviger("cluster", "resume", ours);
  const back = await until(stage, "the service", async () => (await refusal(() => kms.status())) === undefined);
  story.fact("Status", `healthz ok again after ${back} ms`);
  await readAfterRestart(stage, "database", stored);
}

type AuditRecord = Readonly<
  Partial<Record<"time" | "cluster" | "node" | "serial" | "method" | "outcome" | "reason", string>>
>;

async function auditTrail({ story, site }: Stage): Promise<void> {
  story.step("All of it is in the audit log: one record per request, refusals included");
  const records = (await readFile(site.audit, "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as AuditRecord);
  const refused = records.filter(({ outcome }) => outcome !== "ok");
  assert(records.length > 0 && refused.length > 0, "an audit log without records");
  story.fact("records", `${records.length}, of them ${refused.length} not ok, in ${site.audit}`);
  const theft = refused.find(({ cluster }) => cluster === other);
  assert(theft !== undefined, `no record of what ${other} tried`);
  const { time, cluster, node, method, outcome, reason, serial } = theft ?? {};
  story.fact(
    "one of them",
    JSON.stringify({ time, cluster, node, serial, method, outcome, reason }).replaceAll(",", ", "),
  );
}

/** Plays all scenes. */
export async function play(stage: Stage): Promise<void> {
  const apiserver = createApiserver({ kms: stage.kms, provider });
  const keyId = await start(stage, apiserver);
  const stored = writeSecret(stage, apiserver);
  stage.story.step("The kube-apiserver restarts and has forgotten the seed");
  await readAfterRestart(stage, "database", stored);
  await rotate(stage, apiserver, stored, keyId);
  await strangers(stage, stored);
  await suspend(stage, stored);
  await auditTrail(stage);
}
