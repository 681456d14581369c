// The fleet service's policy: which lines stand in it, and which never do.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { fleetPolicyText } from "@claviger/cli/src/vault/fleet-policy.ts";
import { fleetTerraformText } from "@claviger/cli/src/vault/hcl.ts";
import { readFleetSettings } from "@claviger/cli/src/vault/fleet-settings.ts";
import { loadFleetConfig } from "../../../../../gateway/fleet/src/config.ts";
import type { WantedKey } from "@claviger/cli/src/vault/desired-state.ts";
import type { WantedFleet } from "@claviger/cli/src/vault/fleet-state.ts";

function key(name: string, more: Partial<WantedKey> = {}): WantedKey {
  const clusters = [name];
  return { prefix: "", mount: "transit", name, use: "data", encrypts: true, auto: true, clusters, ...more };
}

const wanted: WantedFleet = {
  registry: { prefix: "", mount: "kv", path: "registry" },
  tokens: { prefix: "below/", mount: "kv", path: "node-tokens" },
  approvals: { prefix: "", mount: "kv", path: "approvals" },
  pki: { prefix: "", mount: "pki", role: "node", trustDomain: "fleet.example", lifetime: 86_400 },
  keys: [
    key("prod-eu"),
    key("prod-us", { auto: false }),
    key("prod-old", { encrypts: false, auto: false }),
    key("integrity", { use: "integrity", encrypts: false, auto: false }),
  ],
};

/** Path to capabilities, and the parameters of those that have some. */
function rules(text: string): ReadonlyMap<string, string> {
  const found = text.matchAll(
    /path "([^"]+)" \{\s*capabilities = \[([^\]]*)\](?:\s*allowed_parameters = \{ ([^}]*) \})?/g,
  );
  return new Map(
    [...found].map(([, path = "", list = "", only]) => [
      path,
      `${list.replaceAll('"', "")}${only === undefined ? "" : `: ${only.replaceAll(/["\s[\]=]/g, "")}`}`,
    ]),
  );
}

/** A configuration of the service, as it reads it itself and as `vault init` does. */
test("the paths that the configuration leaves out are those of the service itself", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "claviger-fleet-settings-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const shipped = join(import.meta.dirname, "..", "..", "..", "..", "..", "infra", "fleet", "fleet.yaml");
  const store = "{ kind: vault, backend: main, mount: claviger }";
  const config = join(dir, "fleet.yaml");
  const short = readFileSync(shipped, "utf8").replace(/^tokens:.*$/m, `tokens: ${store}`);
  writeFileSync(config, `${short}\napprovals: { methods: [resume], store: ${store} }\n`);
  const own = loadFleetConfig(config);
  const { settings } = readFleetSettings({ config }, { env: {} });
  for (const [read, there] of [
    [settings.tokens, own.tokens],
    [settings.approvals?.store, own.approvals?.store],
  ])
    assert.deepEqual(read, there);
});

suite("The fleet service's policy", () => {
  test("has a line for each thing that it does, and none for anything else", () => {
    assert.deepEqual(Object.fromEntries(rules(fleetPolicyText(wanted))), {
      "auth/token/lookup-self": "read",
      "auth/token/renew-self": "update",
      "auth/token/revoke-self": "update",
      "kv/data/registry": "create, read, update",
      "kv/data/registry/*": "create, read, update",
      "kv/metadata/registry/clusters/": "list",
      "below/kv/data/node-tokens/*": "create, read, update",
      "kv/data/approvals/*": "create, read, update",
      "kv/metadata/approvals/+": "delete",
      "kv/metadata/approvals/": "list",
      "pki/sign/node": "update",
      "transit/keys/prod-eu": "read",
      "transit/keys/prod-eu/rotate": "update",
      "transit/keys/prod-eu/config": "update: min_encryption_version",
      "transit/keys/prod-us": "read",
      "transit/keys/prod-us/rotate": "update",
      "transit/keys/prod-us/config": "update: min_encryption_version",
      "transit/hmac/integrity/sha2-256": "update",
    });
  });

  test("for a prefix has lines for the mount, and takes what is not rotated out of them", () => {
    const lines = rules(fleetPolicyText(wanted, { prefix: "prod-" }));
    assert.equal(lines.get("transit/keys/+"), "read");
    assert.equal(lines.get("transit/keys/+/rotate"), "update");
    for (const path of ["keys/prod-old/rotate", "keys/prod-old/config", "keys/integrity", "keys/integrity/config"])
      assert.equal(lines.get(`transit/${path}`), "deny", path);
    assert.equal(lines.has("transit/keys/prod-eu"), false);
  });

  test("retires versions where that is asked for alone", () => {
    const lines = rules(fleetPolicyText(wanted, { retires: true }));
    assert.equal(lines.get("transit/keys/prod-eu/config"), "update: min_encryption_version,min_decryption_version");
  });

  test("never encrypts, decrypts, exports or deletes, whatever it is asked for", () => {
    for (const prefix of [undefined, "prod-"])
      for (const retires of [false, true]) {
        const text = fleetPolicyText(wanted, { prefix, retires })
          .replaceAll(/^#.*$/gm, "")
          // Approvals that are old, and nothing else.
          .replace(/path "kv\/metadata\/approvals\/\+" \{\s*capabilities = \["delete"\]/, "");
        assert.doesNotMatch(
          text,
          /\/(?:encrypt|decrypt|rewrap|datakey|export|backup|issue|root)\/|delete|sudo|patch|"\*"/,
        );
      }
  });

  test("of another backend has what is there alone", () => {
    const none = { registry: undefined, tokens: undefined, approvals: undefined, pki: undefined };
    const lines = rules(fleetPolicyText({ ...none, keys: [key("edge", { mount: "other" })] }));
    assert.deepEqual(
      [...lines.keys()].filter((path) => !path.startsWith("auth/token/")),
      ["other/keys/edge", "other/keys/edge/rotate", "other/keys/edge/config"],
    );
  });
});

test("as Terraform has it, it is what gateways do not bring themselves, and the policy word for word", () => {
  const policy = { name: "claviger-fleet", text: fleetPolicyText(wanted) };
  const text = fleetTerraformText({ wanted, policy });
  assert.deepEqual(
    [...text.matchAll(/^resource "(\w+)" "(\w+)" \{$/gm)].map(([, type, name]) => `${type} ${name}`),
    [
      "vault_mount below_kv",
      "vault_mount pki",
      "vault_pki_secret_backend_role pki_node",
      "vault_policy claviger_fleet",
    ],
  );
  assert.match(text, /^ {2}namespace = "below"$/m);
  assert.match(text, /^ {2}allowed_uri_sans = \["spiffe:\/\/fleet\.example\/cluster\/\*"\]$/m);
  const inside = text.split("EOT\n")[1] ?? "";
  assert.equal(inside.replaceAll(/^ {4}/gm, "").replace(/ {2}$/, "").trim(), policy.text.trim());
});
