// What holds between the settings of gateway.yaml, and what is read under an earlier name.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { type GatewayConfig, loadGatewayConfig } from "@claviger/gateway-core/src/config.ts";

const integrity = { backend: "main", mount: "transit", key: "integrity", version: 1 };
const redis = { kind: "standalone", node: "127.0.0.1:6379" };

function load(t: TestContext, settings: object): { readonly config: GatewayConfig; readonly warnings: string[] } {
  const dir = mkdtempSync(join(tmpdir(), "claviger-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "gateway.yaml");
  writeFileSync(
    file,
    JSON.stringify({
      listen: { port: 0 },
      admin: { port: 0 },
      tls: { cert: "c", key: "k", clientCa: "ca" },
      trustDomain: "fleet.test",
      registry: { kind: "file", file: "clusters.yaml" },
      backends: { main: { kind: "embedded", file: "keys.json" } },
      audit: { sinks: [{ kind: "stdout" }] },
      ...settings,
    }),
  );
  const warnings: string[] = [];
  return { config: loadGatewayConfig(file, (line) => warnings.push(line)), warnings };
}

test("the integrity key stands at the top, with or without Redis; under redis it is read with a warning", (t) => {
  assert.deepEqual(load(t, {}).config.integrity, undefined);
  for (const settings of [{ integrity }, { integrity, redis }]) {
    const { config, warnings } = load(t, settings);
    assert.deepEqual([config.integrity, warnings], [integrity, []]);
  }
  const { config, warnings } = load(t, { redis: { ...redis, integrity } });
  assert.deepEqual(config.integrity, integrity);
  assert.match(warnings.join(), /^redis\.integrity is now called integrity/);
});

test("an integrity key that is missing, named twice, or of a backend that is not there is refused", (t) => {
  assert.throws(() => load(t, { redis }), /integrity: is required with redis/);
  assert.throws(() => load(t, { integrity, redis: { ...redis, integrity } }), /redis\.integrity: no such setting/);
  assert.throws(() => load(t, { integrity: { ...integrity, backend: "other" } }), /integrity\.backend: other is not/);
});

test("a setting that is still a placeholder is refused by its name, wherever it stands", (t) => {
  for (const text of ["CHANGE_ME", "CHANGEME", "change-me", "REPLACE_ME", "https://REPLACE_WITH_HOST:8200"]) {
    assert.throws(
      () => load(t, { backends: { main: { kind: "vault", addresses: ["https://a:8200", text], auth: {} } } }),
      /gateway\.yaml: backends\.main\.addresses\.1: is still a placeholder \(\S+\); put your own value there$/,
      text,
    );
    assert.throws(() => load(t, { trustDomain: text }), /trustDomain: is still a placeholder/, text);
  }
  // Words that only look like it.
  for (const file of ["/etc/replacement.yaml", "exchange-mesh.yaml", "replace_old.yaml"])
    assert.equal(load(t, { registry: { kind: "file", file } }).config.trustDomain, "fleet.test");
});
