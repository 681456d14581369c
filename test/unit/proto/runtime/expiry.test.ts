// When certificates expire: what is said, when, and how often; on simulated clocks.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { problemOfSuccessor } from "@claviger/proto/runtime/certificates.ts";
import { describeExpiry, judgeCertificates, watchExpiry } from "@claviger/proto/runtime/expiry.ts";
import { pino } from "pino";
import { createAuthority, createLeaf } from "../../certificates.ts";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
// Certificates have whole seconds.
const start = Math.floor(Date.now() / 1000) * 1000;
const root = await createAuthority("root", undefined, start + 3650 * day);
/** Valid from `start` for 90 days. */
const leaf = await createLeaf({ issuer: root, use: "client", notBefore: start, notAfter: start + 90 * day });

function roleOf(pem: string) {
  return { role: "client", kind: "chain", read: () => [new X509Certificate(pem)] } as const;
}
function caRole(...pems: readonly string[]) {
  return { role: "client_ca", kind: "authorities", read: () => pems.map((pem) => new X509Certificate(pem)) } as const;
}

test("a certificate is told of from a third of its life on, and after its end", () => {
  const at = (time: number) => judgeCertificates(roleOf(leaf.cert), start + time);
  assert.equal(at(-hour).level, "invalid");
  assert.match(at(-hour).text, /^not valid before .*: spiffe:\/\/fleet\.test\/cluster\/prod\/node\/cp-1$/);
  const fingerprint = new X509Certificate(leaf.cert).fingerprint256;
  const times = { secondsLeft: (31 * day) / 1000, validFrom: start / 1000, expiresAt: (start + 90 * day) / 1000 };
  assert.deepEqual(at(59 * day), { role: "client", level: "ok", text: "ok", ...times, fingerprint });
  assert.equal(at(60 * day).level, "expiring");
  assert.match(at(80 * day).text, /^expires in 10 days, at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ: spiffe/);
  assert.match(at(90 * day - 5 * hour).text, /^expires in 5 h,/);
  assert.match(at(90 * day - 5 * minute).text, /^expires in 5 min,/);
  assert.equal(at(90 * day).level, "invalid");
  assert.match(at(91 * day).text, /^expired at .*Z: spiffe/);
  assert.equal(at(91 * day).secondsLeft, -day / 1000);
});

test("a chain expires with its first certificate, a CA bundle with its last one; a CA of years is no news for years", async () => {
  const brief = await createAuthority("brief", root, start + hour);
  const chain = { ...roleOf(leaf.cert), read: () => [leaf.cert, brief.cert].map((pem) => new X509Certificate(pem)) };
  assert.equal(judgeCertificates(chain, start + 2 * hour).level, "invalid");
  const bundle = caRole(brief.cert, root.cert);
  assert.match(judgeCertificates(bundle, start + 30 * minute).text, /^expires in 30 min,/);
  assert.equal(judgeCertificates(bundle, start + 2 * hour).level, "ok");
  assert.equal(judgeCertificates(bundle, start + 3559 * day).level, "ok");
  assert.equal(judgeCertificates(bundle, start + 3560 * day).level, "expiring");
  assert.equal(judgeCertificates(bundle, start + 3651 * day).level, "invalid");
});

test("a file that cannot be read is a state as well, and each state is told in words", () => {
  const broken = {
    ...roleOf(leaf.cert),
    role: "backend/main/client",
    read: () => {
      throw new Error("tls: 2 problems\n  cert: x cannot be read\n  key: y cannot be read");
    },
  };
  const states = [caRole(root.cert), roleOf(leaf.cert), broken].map((role) => judgeCertificates(role, start));
  assert.deepEqual(states.map(describeExpiry), [
    "valid for 3650 days",
    "valid for 90 days",
    "tls: 2 problems cert: x cannot be read key: y cannot be read",
  ]);
});

test("it is logged when it begins and once a day, until the certificate is renewed", (t) => {
  t.mock.timers.enable({ apis: ["Date", "setTimeout"], now: start });
  const lines: { event: string; what: string; time: number }[] = [];
  const log = pino(
    { level: "info" },
    { write: (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number]) },
  );
  let pem = leaf.cert;
  const watch = watchExpiry({ roles: [{ ...roleOf(leaf.cert), read: () => [new X509Certificate(pem)] }], log });
  t.after(watch.close);
  const passDays = (days: number): number => {
    const before = lines.length;
    for (let minutes = 0; minutes < days * 24 * 60; minutes++) t.mock.timers.tick(minute);
    return lines.length - before;
  };
  assert.equal(passDays(59), 0);
  assert.equal(passDays(2), 2, "at the 60th day and at the 61st");
  assert.deepEqual([...new Set(lines.map(({ event }) => event))], ["certificate-expiring"]);
  passDays(28);
  assert.equal(passDays(2), 2, "the end, and a reminder of that");
  assert.deepEqual(
    lines.slice(-2).map(({ event }) => event),
    ["certificate-invalid", "certificate-invalid"],
  );
  pem = root.cert;
  assert.equal(passDays(2), 0, "another certificate that is valid");
  assert.equal(watch.states()[0]?.level, "ok");
});

test("one that expires is told of again when it takes the place of another one that did", async (t) => {
  t.mock.timers.enable({ apis: ["Date", "setTimeout"], now: start + 80 * day });
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
  let pem = leaf.cert;
  const watch = watchExpiry({ roles: [{ ...roleOf(leaf.cert), read: () => [new X509Certificate(pem)] }], log });
  t.after(watch.close);
  for (let minutes = 0; minutes < 60; minutes++) t.mock.timers.tick(minute);
  assert.equal(lines.length, 1);
  pem = (await createLeaf({ issuer: root, use: "client", notBefore: start, notAfter: start + 91 * day })).cert;
  for (let minutes = 0; minutes < 60; minutes++) t.mock.timers.tick(minute);
  assert.equal(lines.length, 2);
});

test("a successor has the URI names of the one in use, and one of its hosts", async () => {
  const uri = "spiffe://fleet.test/gateway";
  const server = (names: { uri?: string; dns?: readonly string[]; ips?: readonly string[] }) =>
    createLeaf({ issuer: root, use: "server", uri, ...names }).then(({ cert }) => cert);
  const inUse = await server({ dns: ["a.test", "b.test"] });
  for (const renewed of [{ dns: ["b.test"] }, { dns: ["a.test", "c.test"], ips: ["10.0.0.1"] }, {}])
    assert.equal(problemOfSuccessor(inUse, await server(renewed)), undefined);
  for (const other of [{ dns: ["c.test"] }, { uri: "spiffe://fleet.test/cluster/prod/node/a", dns: ["a.test"] }])
    assert.match(
      problemOfSuccessor(inUse, await server(other)) ?? "",
      /^is of URI:spiffe:.*, and in use is that of URI:spiffe:\/\/fleet\.test\/gateway, DNS:a\.test, DNS:b\.test: restart/,
    );
});
