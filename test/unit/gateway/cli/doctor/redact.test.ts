// What a bundle leaves out of settings, and what it keeps.
import assert from "node:assert/strict";
import { test } from "node:test";
import { redactSettings, redacted } from "@claviger/cli/src/doctor/redact.ts";

test("what could be a secret is left out, wherever it stands", () => {
  const secret = {
    secret: "x",
    clientSecret: "x",
    token: "x",
    password: "x",
    other: "hvs.CAESIJ",
    pem: "-----BEGIN PRIVATE KEY-----",
    random: "A".repeat(44),
    list: ["s.abcdefgh"],
  };
  const left = redactSettings({ a: [secret] }) as { a: [Record<string, unknown>] };
  for (const [name, value] of Object.entries(left.a[0]))
    assert.deepEqual(value, name === "list" ? [redacted] : redacted, name);
  assert.equal(redactSettings("https://user:pass@host:1/x"), `https://${redacted}@host:1/x`);
});

test("paths, addresses, names and numbers stay", () => {
  const plain = {
    passwordFile: "/etc/claviger/redis-password-with-a-name-that-is-longer-than-any-key",
    addresses: ["https://vault.example.internal.company.example:8200"],
    socket: { path: "/run/claviger/kms.sock", mode: "0660", group: 65532 },
    trustedProxies: ["spiffe://fleet.example/proxy/a"],
    enabled: true,
  };
  assert.deepEqual(redactSettings(plain), plain);
});
