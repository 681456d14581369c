import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { createServer } from "node:tls";
import { createAuthority, createLeaf } from "../../certificates.ts";
import { peerOfUrl, withPeerExpiry } from "@claviger/proto/runtime/check-peer.ts";

const day = 86_400_000;
const found = { found: "connected", value: true };

async function startServer(
  t: TestContext,
  notBefore: number,
  notAfter: number,
  onFailure?: () => void,
): Promise<number> {
  const issuer = await createAuthority("ca", undefined, Date.now() + 3650 * day);
  const pair = await createLeaf({ issuer, use: "server", notBefore, notAfter });
  const server = createServer(pair, (socket) => socket.on("error", () => {}));
  server.on("tlsClientError", () => onFailure?.());
  t.after(() => server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  return (server.address() as AddressInfo).port;
}
const ask = (...ports: readonly number[]) =>
  withPeerExpiry(
    found,
    ports.map((port) => ({ host: "127.0.0.1", port })),
    AbortSignal.timeout(5000),
  );

test("how long a server's certificate is valid is said, and from a third of its life on it is a warning", async (t) => {
  const now = Date.now();
  const good = await startServer(t, now - day, now + 89 * day + 60_000);
  assert.deepEqual(await ask(good), { ...found, found: "connected; the server's certificate: valid for 89 days" });
  const soon = await startServer(t, now - 80 * day, now + 10 * day + 60_000);
  const { more = [], ...rest } = await ask(good, soon);
  assert.deepEqual(rest, found);
  assert.deepEqual(
    more.map(({ verdict }) => verdict),
    ["warning"],
  );
  assert.match(more[0]?.found ?? "", /^the server's certificate: expires in 10 days, at \S+: spiffe:\S+$/);
});

test("a server that is asked counts no failed handshake", async (t) => {
  const now = Date.now();
  let failures = 0;
  const port = await startServer(t, now - day, now + 89 * day, () => {
    failures++;
  });
  for (let i = 0; i < 20; i++) await ask(port);
  assert.equal(failures, 0);
});

test("one that cannot be asked says nothing", async () => {
  assert.deepEqual(await ask(1), found);
  assert.deepEqual(await ask(), found);
});

test("an address without TLS has no certificate", () => {
  assert.equal(peerOfUrl("http://vault.test:8200"), undefined);
  assert.deepEqual(peerOfUrl("https://[::1]"), { host: "::1", port: 443 });
});
