// What logins leave on disk: for this user alone, whole or not at all, and one command at a time.
import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test, type TestContext } from "node:test";
import { openTokenStore } from "@claviger/cli/src/oidc/store.ts";

const oidc = { issuer: "https://issuer.test/corp", clientId: "claviger", scopes: [] } as const;
const tokens = { token: "a.b.c", expiresAt: Date.now() + 60_000, refreshToken: "again" } as const;

function homeOf(t: TestContext): { readonly home: string; readonly directory: string } {
  const home = mkdtempSync(join(tmpdir(), "tokens-"));
  t.after(() => rmSync(home, { recursive: true }));
  return { home, directory: join(home, ".config", "claviger", "tokens") };
}

suite("tokens of logins", () => {
  test("are in a file of mode 0600, in a directory of mode 0700, also where that was open to others", async (t) => {
    const { home, directory } = homeOf(t);
    mkdirSync(directory, { recursive: true });
    chmodSync(directory, 0o755);
    const store = openTokenStore({ ...oidc, scopes: [] }, { home });
    assert.equal(await store.read(), undefined);
    await store.write(tokens);
    assert.equal(statSync(directory).mode & 0o777, 0o700);
    const [name = "", ...others] = readdirSync(directory);
    assert.deepEqual(others, []);
    assert.match(name, /^issuer\.test-[0-9a-f]{16}\.json$/);
    assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600);
    const { obtainedAt, ...read } = (await store.read()) ?? {};
    assert.deepEqual(read, tokens);
    assert.ok(typeof obtainedAt === "number" && Math.abs(Date.now() - obtainedAt) < 5000);
    chmodSync(join(directory, name), 0o604);
    await assert.rejects(store.read(), /can be read by others/);
    await store.write(tokens);
    assert.ok((await store.read()) !== undefined, "a login makes it right");
    writeFileSync(join(directory, name), "{");
    assert.equal(await store.read(), undefined, "what cannot be read is none");
    await store.remove();
    await store.remove();
    assert.deepEqual(readdirSync(directory), []);
  });

  test("are apart for each issuer, client, audience and set of scopes", async (t) => {
    const { home, directory } = homeOf(t);
    const others = [
      {},
      { issuer: "https://issuer.test/other" },
      { clientId: "x" },
      { audience: "y" },
      { scopes: ["a", "b"] },
    ];
    for (const other of others) await openTokenStore({ ...oidc, scopes: [], ...other }, { home }).write(tokens);
    assert.equal(readdirSync(directory).length, others.length);
    const turned = openTokenStore({ ...oidc, scopes: ["b", "a"] }, { home });
    assert.ok((await turned.read()) !== undefined, "in any order");
  });

  test("are renewed by one command at a time, and one that has died holds nobody up for ever", async (t) => {
    const { home, directory } = homeOf(t);
    let running = 0;
    let most = 0;
    const order: number[] = [];
    await Promise.all(
      [1, 2, 3].map((number) =>
        openTokenStore({ ...oidc, scopes: [] }, { home }).alone(async () => {
          running += 1;
          most = Math.max(most, running);
          await new Promise((resolve) => setImmediate(resolve));
          order.push(number);
          running -= 1;
        }),
      ),
    );
    assert.deepEqual([most, order.length], [1, 3]);
    assert.deepEqual(readdirSync(directory), []);
    const store = openTokenStore({ ...oidc, scopes: [] }, { home });
    await assert.rejects(
      store.alone(() => Promise.reject(new Error("away"))),
      /away/,
    );
    assert.deepEqual(readdirSync(directory), []);
    await store.write(tokens);
    const [name = ""] = readdirSync(directory);
    const lock = join(directory, `${name}.lock`);
    writeFileSync(lock, "");
    const before = new Date(Date.now() - 61_000);
    utimesSync(lock, before, before);
    assert.equal(await store.alone(() => Promise.resolve("in")), "in");
    assert.ok(!existsSync(lock));
  });
});
