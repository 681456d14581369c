import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { VaultClient } from "@claviger/gateway-core/src/backend/vault/client.ts";
import { keepToken } from "@claviger/gateway-core/src/backend/vault/token.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { mountPath } from "@claviger/proto/wire/names.ts";
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import { silent } from "../../fakes.ts";

function soon(): AbortSignal {
  return AbortSignal.timeout(5000);
}
function textOf(token: Secret): string {
  return token.use((text) => text);
}

/** A Vault of logins alone. */
function createFakeVault() {
  const vault = {
    logins: 0,
    lookups: 0,
    isDown: false,
    known: new Set<string>(),
    clientOf: (token?: Secret): VaultClient => ({
      async read() {
        vault.lookups += 1;
        if (vault.isDown) throw new KmsError("backend_unavailable");
        if (token === undefined || !vault.known.has(textOf(token))) throw new KmsError("backend_denied");
        return Promise.resolve({ data: { ttl: 0 } });
      },
      list: () => assert.fail("nothing is listed"),
      remove: () => assert.fail("nothing is listed"),
      write() {
        vault.logins += 1;
        if (vault.isDown) return Promise.reject(new KmsError("backend_unavailable"));
        const text = `token-${vault.logins}`;
        vault.known.add(text);
        return Promise.resolve({ auth: { client_token: text, lease_duration: 3600, renewable: true } });
      },
    }),
  };
  return vault;
}

suite("the token keeper", () => {
  let dir: string;
  let passwordFile: string;
  let clock = 1_000_000;
  const keep = (vault: ReturnType<typeof createFakeVault>) =>
    keepToken({
      auth: { kind: "userpass", mount: mountPath.parse("userpass"), username: "gw", passwordFile },
      clientOf: vault.clientOf,
      log: silent,
      now: () => clock,
    });

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    passwordFile = join(dir, "password");
    await writeFile(passwordFile, "x");
  });
  after(() => rm(dir, { recursive: true }));

  test("logs in once, however many ask", async () => {
    const vault = createFakeVault();
    const keeper = keep(vault);
    const tokens = await Promise.all(Array.from({ length: 50 }, () => keeper.current(soon())));
    assert.equal(vault.logins, 1);
    assert.equal(new Set(tokens).size, 1);
    keeper.close();
  });

  test("a token that Vault refused is replaced once, however many met it", async () => {
    const vault = createFakeVault();
    const keeper = keep(vault);
    const refused = await keeper.current(soon());
    const next = await Promise.all(Array.from({ length: 50 }, () => keeper.replace(refused, soon())));
    assert.equal(vault.logins, 2);
    assert.deepEqual([...new Set(next.map(textOf))], ["token-2"]);
    assert.equal(textOf(await keeper.replace(refused, soon())), "token-2");
    keeper.close();
  });

  test("a missing right costs few logins, and a revoked token is replaced all the same", async () => {
    const vault = createFakeVault();
    const keeper = keep(vault);
    for (let second = 0; second < 60; second++) {
      for (let i = 0; i < 20; i++) await keeper.replace(await keeper.current(soon()), soon()).catch(() => undefined);
      clock += 1000;
    }
    assert.ok(vault.logins <= 8, `${vault.logins} logins`);
    const before = vault.logins;
    const current = await keeper.current(soon());
    vault.known.clear();
    assert.notEqual(await keeper.replace(current, soon()), current);
    assert.equal(vault.logins, before + 1);
    keeper.close();
  });

  test("callers share the failure of a Vault that is away, and go on as soon as it is back", async () => {
    const vault = createFakeVault();
    vault.isDown = true;
    const keeper = keep(vault);
    for (let i = 0; i < 50; i++) await assert.rejects(keeper.current(soon()), { reason: "backend_unavailable" });
    assert.ok(vault.logins <= 3, `${vault.logins} logins`);
    vault.isDown = false;
    clock += 600;
    await keeper.current(soon());
    keeper.close();
  });

  test("a periodic token whose caller is refused while its renewal is due is renewed all the same", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    let isRefusing = false;
    let renewals = 0;
    const answer = <T>(reply: T): Promise<T> =>
      isRefusing ? Promise.reject(new KmsError("backend_denied")) : Promise.resolve(reply);
    const client: VaultClient = {
      list: () => assert.fail("nothing is listed"),
      remove: () => assert.fail("nothing is listed"),
      read: () => answer({ data: { ttl: 3600, renewable: true, expire_time: "2030-01-01T00:00:00Z" } }),
      write() {
        if (!isRefusing) renewals++;
        return answer({ auth: { client_token: "periodic", lease_duration: 3600, renewable: true } });
      },
    };
    const auth = { kind: "token", file: passwordFile } as const;
    const keeper = keepToken({ auth, clientOf: () => client, log: silent, now: () => clock });
    const token = await keeper.current(soon());
    isRefusing = true;
    const replaced = keeper.replace(token, soon());
    // The renewal is due while the login is under way that the refused caller asked for.
    clock += 2_400_001;
    t.mock.timers.tick(2_400_001);
    await assert.rejects(replaced);
    isRefusing = false;
    for (let second = 0; renewals === 0 && second < 1000; second++) {
      clock += 1000;
      t.mock.timers.tick(1000);
      await nextTurn();
    }
    assert.equal(renewals, 1);
    assert.equal(textOf(await keeper.current(soon())), textOf(token));
    keeper.close();
  });

  test("a token that ran out while Vault was away is not handed out", async () => {
    const vault = createFakeVault();
    const keeper = keep(vault);
    await keeper.current(soon());
    clock += 3_600_001;
    assert.equal(textOf(await keeper.current(soon())), "token-2");
    keeper.close();
  });
});
