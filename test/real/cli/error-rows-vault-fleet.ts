// Rows of what goes wrong with `vault init --for fleet`.
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Row } from "./error-rows.ts";
import type { World } from "./error-world.ts";

export function initFleetRows(world: World): readonly Row[] {
  const kv = { kind: "vault", backend: "main", mount: "kv" };
  const at = (name: string, settings: object = {}): readonly string[] => {
    const { registry: file, backends } = world.settingsOf(world.site("init-fleet")) as Record<string, object>;
    const config = join(world.dir, `${name}.fleet.yaml`);
    const certificates = { ca: { ...kv, mount: "pki", role: "node" } };
    const whole = { trustDomain: "fleet.example", registry: file, backends, certificates, tokens: kv, ...settings };
    writeFileSync(config, JSON.stringify(whole));
    return ["--config", config];
  };
  const row = (what: string, args: readonly string[], says: RegExp, status = 1): Row => ({
    what: `vault init --for fleet: ${what}`,
    args: ["vault", "init", "--for", "fleet", ...args],
    says,
    status,
    isLong: status === 2,
  });
  const directory = { kind: "directory", directory: "/nowhere" };
  const empty = mkdtempSync(join(world.dir, "empty-"));
  return [
    row("no file", [], /^claviger: --for fleet needs --config FILE: the fleet service's configuration$/),
    row(
      "a registry besides",
      ["--registry", "kv:kv", ...at("other")],
      /^claviger: --for fleet takes --config FILE alone/,
    ),
    {
      ...row(
        "a gateway's configuration",
        ["--config", world.site("init-fleet")],
        /gateway\.yaml: 2 problems\n {2}certif/,
      ),
      isLong: true,
    },
    row(
      "what is for gateways",
      ["--print-operator-policies", ...at("hcl")],
      /^claviger: --print-operator-policies and/,
    ),
    row(
      "nothing of that Vault",
      at("nothing", {
        certificates: { ca: directory },
        tokens: directory,
        registry: { kind: "directory", directory: empty },
      }),
      /^claviger: the fleet service uses nothing of backend main: neither registry, tokens, PKI nor a key$/,
    ),
    row(
      "a prefix of no key",
      ["--key-prefix", "x-", ...at("prefix")],
      /^claviger: --key-prefix x-: no key's name begins so$/,
    ),
    row("a PKI without a CA", at("ca"), /^claviger: one thing is in the way \(CONFLICT above\); nothing was changed$/),
    row("both kinds of a CA", ["--pki-root", "--pki-csr", "/x", ...at("both")], /cannot be used with option/, 2),
    row("somebody else", ["--for", "shim", ...at("else")], /Allowed choices are gateway, fleet/, 2),
  ];
}
