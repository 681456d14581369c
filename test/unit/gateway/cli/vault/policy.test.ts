import assert from "node:assert/strict";
import { test } from "node:test";
import { type VaultControl, VaultRefusal } from "@claviger/cli/src/vault/control.ts";
import { terraformText } from "@claviger/cli/src/vault/hcl.ts";
import { testPolicy } from "@claviger/cli/src/vault/policy-test.ts";
import { type WantedKey, wantedKeys } from "@claviger/cli/src/vault/desired-state.ts";
import { commonPrefix, policyText } from "@claviger/cli/src/vault/policy.ts";
import { parseRegistry } from "@claviger/gateway-core/src/registry/merge.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { Secret } from "@claviger/proto/runtime/secret.ts";

const registry = `clusters:
  - { name: a, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA, state: active, keys: [{ backend: main, mount: transit, key: shared }], former: [{ backend: main, mount: old, key: a }] }
  - { name: b, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RB, state: suspended, rotation: manual, keys: [{ backend: main, mount: transit, key: shared }] }
  - { name: c, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RC, state: active, rotation: manual, keys: [{ backend: main, namespace: team/x, mount: transit, key: c }] }
  - { name: d, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RD, state: active, keys: [{ backend: local, mount: transit, key: d }] }
`;
function records(): readonly ClusterRecord[] {
  return [...parseRegistry("test", registry, new Set(["main", "local"]), undefined).values()];
}

test("each key of the backend stands in the policy once, with the least that its clusters need", () => {
  const keys = wantedKeys({ records: records(), backend: "main", login: "team" });
  assert.deepEqual(
    keys.map(({ prefix, mount, name, encrypts, auto, clusters }) => [
      `${prefix}${mount}/${name}`,
      encrypts,
      auto,
      clusters.join(),
    ]),
    [
      ["transit/shared", true, true, "a,b"],
      ["old/a", false, false, "a"],
      ["x/transit/c", true, false, "c"],
    ],
  );
  const policy = policyText(keys);
  assert.equal(policy.split('path "transit/encrypt/shared"').length, 2);
  assert.doesNotMatch(policy, /old\/encrypt|x\/transit\/keys\/c\/|\/d"|\*|"sudo"|"create"|"delete"|"list"/);
  assert.match(policy, /path "x\/transit\/encrypt\/c" \{ capabilities = \["update"\] \}/);
  assert.match(policy, /allowed_parameters = \{ "min_encryption_version" = \[\] \}/);
});

test("a namespace that the login cannot reach is refused", () => {
  assert.throws(
    () => wantedKeys({ records: records(), backend: "main", login: "other" }),
    /team\/x is not below other/,
  );
});

test("the Terraform text has each thing once and leaves the promoted version alone", () => {
  const keys = wantedKeys({ records: records(), backend: "main", login: undefined });
  const text = terraformText({ keys, policy: { name: "p", text: policyText(keys) } });
  assert.equal(text.split('resource "vault_mount"').length - 1, 3);
  assert.equal(text.split('resource "vault_transit_secret_backend_key"').length - 1, 3);
  assert.equal(text.split("ignore_changes = [min_encryption_version, min_decryption_version]").length - 1, 3);
  assert.match(text, /namespace = "team\/x"/);
});

/** A Vault that says what a test wants: capabilities by path, refusals by path. */
function vaults(
  capabilities: Record<string, string[]>,
  refused: readonly string[],
): { operator: VaultControl; gateway: VaultControl } {
  return {
    operator: {
      read: async () => undefined,
      write: async (_, body) => ({
        data: Object.fromEntries((body["paths"] as string[]).map((path) => [path, capabilities[path] ?? ["deny"]])),
      }),
    },
    gateway: {
      read: async (path) => {
        if (refused.includes(path)) throw new VaultRefusal(403, path, "");
        return { latest_version: 2, min_encryption_version: 1, min_decryption_version: 1, deletion_allowed: false };
      },
      write: async (path, body) => {
        if (refused.includes(path) || (path.endsWith("/config") && !("min_encryption_version" in body)))
          throw new VaultRefusal(403, path, "");
        return {
          data: path.includes("/encrypt/") ? { ciphertext: body["plaintext"] } : { plaintext: body["ciphertext"] },
        };
      },
    },
  };
}
const key: WantedKey = {
  prefix: "",
  mount: "transit",
  name: "k",
  use: "data",
  encrypts: true,
  auto: true,
  clusters: ["a"],
};
const good = { "transit/keys/k": ["read"], "transit/keys/k/rotate": ["update"] };
async function look(capabilities: Record<string, string[]>, refused: readonly string[] = []): Promise<string[]> {
  const { operator, gateway } = vaults(capabilities, refused);
  const { needed, denied } = await testPolicy({
    operator,
    openGateway: () => gateway,
    token: new Secret("t"),
    keys: [key],
    policy: "p",
    foreign: [{ at: "transit", name: "theirs", cluster: "b" }],
  });
  return [...needed, ...denied].filter(({ ok }) => !ok).map(({ path, what }) => `${path} ${what}`);
}

test("a policy that grants what is needed and no more has no finding", async () => {
  assert.deepEqual(await look(good), []);
});

test("whatever is missing from a policy or too much in it is a finding", async () => {
  assert.deepEqual(await look({ ...good, "transit/export/encryption-key/k": ["read"] }), [
    "transit/export/encryption-key/k any access",
  ]);
  assert.deepEqual(await look({ ...good, "transit/keys/k": ["read", "delete"] }), [
    "transit/keys/k create, update, delete",
  ]);
  for (const path of ["transit/decrypt/theirs", "transit/keys/theirs", "transit/keys/theirs/rotate"])
    assert.deepEqual(await look({ ...good, [path]: ["update"] }), [`${path} any access`]);
  assert.deepEqual(await look({ ...good, "sys/mounts": ["root"] }), ["sys/mounts any access"]);
  assert.deepEqual(await look({ "transit/keys/k": ["read"] }), ["transit/keys/k/rotate rotate"]);
  assert.deepEqual(await look(good, ["transit/decrypt/k"]), ["transit/encrypt|decrypt/k encrypt, decrypt"]);
  assert.deepEqual(await look(good, ["transit/keys/k/config"]), ["transit/keys/k/config promote"]);
});

function fleet(count: number): readonly WantedKey[] {
  return Array.from({ length: count }, (_, i) => ({ ...key, name: `prod-${i}`, clusters: [`c${i}`] }));
}

test("keys whose names begin alike share a few lines, whatever their number; what one may not is denied", () => {
  const integrity: WantedKey = { ...key, name: "claviger", use: "integrity", encrypts: false, auto: false };
  const lines = (count: number): number =>
    policyText([...fleet(count), integrity], undefined, "prod-").split("\n").length;
  assert.equal(lines(10_000), lines(10));
  const retired: WantedKey = { ...key, name: "prod-old", encrypts: false, auto: false };
  const other: WantedKey = { ...key, name: "lab", auto: false };
  const text = policyText([...fleet(3), retired, other, integrity], undefined, "prod-");
  for (const part of [
    'path "transit/encrypt/prod-*" { capabilities = ["update"] }',
    'path "transit/decrypt/prod-*" { capabilities = ["update"] }',
    'path "transit/keys/+" { capabilities = ["read"] }',
    'path "transit/encrypt/prod-old" { capabilities = ["deny"] }',
    'path "transit/keys/prod-old/config" { capabilities = ["deny"] }',
    'path "transit/encrypt/lab" { capabilities = ["update"] }',
    'path "transit/keys/lab/rotate" { capabilities = ["deny"] }',
    'path "transit/keys/claviger/config" { capabilities = ["deny"] }',
    'path "transit/hmac/claviger/sha2-256" { capabilities = ["update"] }',
  ])
    assert.ok(text.includes(part), part);
  // A pattern over the keys' own path would let gateways make keys, and delete them softly.
  assert.doesNotMatch(text, /keys\/prod-\*|encrypt\/prod-1"/);
  assert.throws(() => policyText(fleet(3), undefined, "x-"), /--key-prefix x-: no key's name begins so/);
});

test("a prefix is offered where many names have one up to a separator", () => {
  assert.equal(commonPrefix(fleet(30)), "prod-");
  assert.equal(commonPrefix(fleet(10)), undefined);
  assert.equal(commonPrefix([...fleet(30), { ...key, name: "lab" }]), undefined);
});
