// The registry in KV of a Vault, reached by a way of its own: Transit is well while it is not.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { type FaultProxy, html, startFaultProxy } from "../../lab/fault-proxy.ts";
import { startLab } from "../../lab/lab.ts";
import { gatewayPolicy, type OpenBao } from "../../lab/openbao.ts";
import { until } from "../../lab/process-group.ts";
import { kmsClient } from "../../lab/kms.ts";
import { wayIn } from "./behind-proxy.ts";
import { type KmsWorld, kmsWorldOf } from "./kms-world.ts";
import { type Cells, describeEdges } from "./suite.ts";
import { type Certificates, createCertificates } from "./tls.ts";

type Document = { readonly clusters: readonly Readonly<Record<string, unknown>>[] };
type KvWorld = KmsWorld & {
  readonly proxy: FaultProxy;
  readonly certificates: Certificates;
  readonly vault: OpenBao;
  readonly document: Document;
};

const path = "claviger/data/registry";
const policyName = "sys/policies/acl/claviger-gateway";
const transit = gatewayPolicy(["cluster-1"]);
const readable = `${transit}
path "${path}" { capabilities = ["read"] }
path "${path}/*" { capabilities = ["read"] }
path "${path}-canary/*" { capabilities = ["create", "read", "update"] }`;

async function write({ vault }: Pick<KvWorld, "vault">, data: unknown): Promise<void> {
  await vault.call("POST", path, { data });
}

async function start(): Promise<KvWorld> {
  const dir = mkdtempSync(join(tmpdir(), "claviger-"));
  const certificates = await createCertificates();
  let proxy: FaultProxy | undefined;
  let direct = "";
  const lab = await startLab({
    dir,
    redis: false,
    async vaultAddresses(addr) {
      direct = addr;
      proxy = await startFaultProxy({ target: () => Number(new URL(addr).port), pair: certificates.good });
      return [addr];
    },
    gatewayExtra(name) {
      const auth = {
        kind: "approle",
        mount: "approle",
        roleIdFile: join(dir, `${name}.role-id`),
        secretIdFile: join(dir, `${name}.secret-id`),
      };
      const store = {
        kind: "vault",
        addresses: [`https://127.0.0.1:${proxy?.port}`],
        tls: { ca: certificates.ca },
        auth,
      };
      return {
        registry: { kind: "vault", backend: "store", mount: "claviger" },
        backends: { main: { kind: "vault", addresses: [direct], auth: { ...auth } }, store },
      };
    },
  });
  const { vault } = lab;
  assert.ok(proxy !== undefined && vault !== undefined);
  const made = proxy;
  await vault.call("PUT", policyName, { policy: readable });
  await vault.call("POST", "sys/mounts/claviger", { type: "kv", options: { version: "2" } });
  const { clusters } = parse(readFileSync(lab.registry, "utf8")) as Document;
  const document = { clusters: clusters.map((record) => ({ ...record, generation: 2 })) };
  await until("the store to be there", undefined, () =>
    write({ vault }, document).then(
      () => true as const,
      () => undefined,
    ),
  );
  const client = kmsClient(lab.shims[0]?.socket ?? "");
  await until("the registry to be read", undefined, () => client.encrypt(Buffer.alloc(32)).catch(() => undefined));
  client.close();
  const world = await kmsWorldOf(lab, async () => {
    await made.close();
    rmSync(certificates.dir, { recursive: true });
  });
  return { ...world, proxy, certificates, vault, document };
}

const way = wayIn<KvWorld>;
function written(change: (document: Document) => unknown) {
  return {
    cause: (world: KvWorld) => write(world, change(world.document)),
    cure: (world: KvWorld) => write(world, world.document),
  };
}
function refusal(status: number, error: string) {
  return { status, body: JSON.stringify({ errors: [error] }) };
}
const unknown = ["cluster_unknown"];

const cells: Cells<KvWorld> = {
  absent: { how: "nothing listens at its address", ...way({ kind: "refuse" }) },
  slow: { how: "an answer takes 400 ms", ...way({ kind: "slow", ms: 400 }) },
  silent: {
    how: "it takes connections and says nothing",
    ...way({ kind: "silent" }),
    lookMs: 9000,
    // What waits fails as one silence ends.
    maybeAtEnd: ["previous-versions-unknown", "registry-rejected"],
  },
  closing: { how: "it closes each connection in the middle of an answer", ...way({ kind: "close" }) },
  "refusing everything": {
    how: "the policy loses the document",
    cause: async ({ vault }) => await vault.call("PUT", policyName, { policy: transit }),
    cure: async ({ vault }) => await vault.call("PUT", policyName, { policy: readable }),
    repeated: { "vault-login": "comes again, ever more rarely: a new token might help" },
  },
  "refusing one operation": {
    unreachable: "reading is all that gateways ask of it; `claviger cluster` writes, and says what it may not",
  },
  "answering from an older state": {
    how: "the document is of a lower generation than the one in force",
    ...written(({ clusters }) => ({ clusters: clusters.map((record) => ({ ...record, generation: 1 })) })),
  },
  "answering nonsense": {
    how: "it answers 200 and a page of HTML to all",
    ...way({ kind: "answer", answer: () => html }),
  },
  "answering for somebody else": {
    how: "the document is the registry of another fleet",
    ...written(({ clusters }) => ({
      clusters: clusters.map((record) => ({ ...record, name: "stranger", uid: "01ARZ3NDEKTSV4RRFFQ69G5FAV" })),
    })),
    callers: { Status: unknown, Encrypt: unknown, Decrypt: unknown },
    end: "once the fleet's own is there again",
  },
  full: {
    how: "its audit device cannot be written: 500 to all but its health",
    ...way({
      kind: "answer",
      answer: ({ path: asked }) => (asked.startsWith("/v1/sys/") ? undefined : refusal(500, "failed to audit request")),
    }),
  },
  "read-only": {
    how: "it takes no writes",
    ...way({
      kind: "answer",
      answer: ({ method }) => (method === "GET" ? undefined : refusal(500, "cannot write to readonly storage")),
    }),
  },
  "credentials changed": { unreachable: "the login is a backend's: see the section of Vault at one address" },
  "certificate expired or replaced": {
    how: "it shows a certificate that has expired",
    ...way(({ certificates }) => ({ kind: "certificate", pair: certificates.expired })),
  },
  "clock wrong": { unreachable: "no time is read from it: a document has a generation" },
};

describeEdges({ dependency: "Registry, in Vault's KV", start, cells, sample: [] });
