// What a bundle leaves out of settings, and what it keeps.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRedactor, redacted } from "@claviger/cli/src/doctor/redact.ts";

const redactSettings = (value: unknown): unknown => createRedactor().settings(value);

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
    PASSWORD: 12_345_678,
    passwordFile: "hunter2",
    secretIdFile: "6f1c-77",
    bearer: "Bearer hvs.CAESIJ",
    jwt: "eyJhbGciOi.eyJzdWIi.x",
    enrollment: "take clvt_abc",
    "x-api-key": "x",
  };
  const left = redactSettings({ a: [secret] }) as { a: [Record<string, unknown>] };
  for (const [name, value] of Object.entries(left.a[0]))
    assert.deepEqual(value, name === "list" ? [redacted] : redacted, name);
  assert.equal(redactSettings("https://user:pass@host:1/x"), `https://${redacted}@host:1/x`);
  assert.equal(redactSettings("https://user:p@ss@host:1/x"), `https://${redacted}@host:1/x`);
  assert.equal(redactSettings("redis://:pw@host"), `redis://${redacted}@host`);
  assert.equal(redactSettings("https://host/?a=1&token=x&b=2"), `https://host/?a=1&token=${redacted}&b=2`);
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

test("what was a secret in the settings is none in a finding", () => {
  const redactor = createRedactor();
  redactor.settings({ redis: { passwordFile: 'hunter"2', password: 12_345_678 }, url: "https://user:p@ss@host" });
  const found = JSON.stringify({ found: 'redis.passwordFile: hunter"2 cannot be read, 12345678, user:p@ss' });
  assert.equal(redactor.text(found), found.replace(/hunter..2|12345678|user:p@ss/g, redacted));
});
