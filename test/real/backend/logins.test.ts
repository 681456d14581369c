// Every way to log in, on a real OpenBao, with tokens that live for seconds: no request fails
// because one is being replaced.
import assert from "node:assert/strict";
import { createSign, generateKeyPairSync, randomUUID } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { VaultConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { mountPath } from "@claviger/proto/wire/names.ts";
import { keepAsking, roundTrip, startWorld, type World } from "./world.ts";

// Beside other tests a process may get no time for a second or two.
const lives = { token_ttl: "6s", token_max_ttl: "14s", token_policies: ["claviger-gateway"] };
const runMs = 17_000;
function base64url(text: string): string {
  return Buffer.from(text).toString("base64url");
}

suite("logins with a TTL of 6 s and a max TTL of 14 s", { concurrency: true }, () => {
  let world: World;
  const file = async (name: string, text: string): Promise<string> => {
    const path = join(world.dir, name);
    // A name of its own: on a busy machine one rewriting may overtake another.
    const next = `${path}.${randomUUID()}`;
    await writeFile(next, text, { mode: 0o600 });
    await rename(next, path);
    return path;
  };
  const newToken = async (life: object): Promise<string> => {
    const reply = await world.bao.call<{ auth: { client_token: string } }>("POST", "auth/token/create", {
      policies: ["claviger-gateway"],
      no_parent: true,
      ...life,
    });
    return reply.auth.client_token;
  };
  const serves = async (auth: VaultConfig["auth"]): Promise<void> => {
    const { asked, failed } = await keepAsking(await world.open(auth), runMs, 20);
    assert.ok(asked > 50);
    assert.deepEqual(failed, []);
  };

  before(async () => {
    world = await startWorld();
    await world.bao.call("POST", "auth/approle/role/claviger-gateway", lives);
  });
  after(() => world.stop());

  test("approle", () => serves(world.approle));

  test("approle with a response-wrapped secret-id, which opens once and serves for ever", async () => {
    const { addr, tokenFile } = world.bao;
    const reply = await fetch(`${addr}/v1/auth/approle/role/claviger-gateway/secret-id`, {
      method: "POST",
      headers: { "x-vault-token": await readFile(tokenFile, "utf8"), "x-vault-wrap-ttl": "60s" },
    });
    const { wrap_info: wrapping } = (await reply.json()) as { wrap_info: { token: string } };
    assert.ok(world.approle.kind === "approle");
    await serves({ ...world.approle, wrapped: true, secretIdFile: await file("wrapped", wrapping.token) });
  });

  test("userpass", async () => {
    await world.bao.call("POST", "sys/auth/userpass", { type: "userpass" });
    await world.bao.call("POST", "auth/userpass/users/gw", { password: "correct horse", ...lives });
    const passwordFile = await file("password", "correct horse\n");
    await serves({ kind: "userpass", mount: mountPath.parse("userpass"), username: "gw", passwordFile });
  });

  test("jwt", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    await world.bao.call("POST", "sys/auth/jwt", { type: "jwt" });
    await world.bao.call("POST", "auth/jwt/config", {
      jwt_validation_pubkeys: [publicKey.export({ type: "spki", format: "pem" })],
    });
    await world.bao.call("POST", "auth/jwt/role/gw", {
      role_type: "jwt",
      user_claim: "sub",
      bound_audiences: ["vault"],
      ...lives,
    });
    const now = Math.floor(Date.now() / 1000);
    const body = `${base64url('{"alg":"RS256","typ":"JWT"}')}.${base64url(
      JSON.stringify({ sub: "gw", aud: "vault", iat: now, nbf: now, exp: now + 60 }),
    )}`;
    const jwt = `${body}.${createSign("RSA-SHA256").update(body).sign(privateKey, "base64url")}`;
    await serves({ kind: "jwt", mount: mountPath.parse("jwt"), role: "gw", jwtFile: await file("jwt", jwt) });
  });

  test("a periodic token, renewed", async () => {
    await serves({ kind: "token", file: await file("periodic", await newToken({ period: "6s" })) });
  });

  test("a token file that an agent rewrites", async () => {
    const path = await file("agent", await newToken({ ttl: "6s", explicit_max_ttl: "6s" }));
    const agent = setInterval(() => {
      void newToken({ ttl: "6s", explicit_max_ttl: "6s" }).then((token) => file("agent", token));
    }, 2500);
    try {
      await serves({ kind: "token-file", file: path });
    } finally {
      clearInterval(agent);
    }
  });

  test("a password that is replaced is read again, without a restart", async () => {
    await world.bao.call("POST", "sys/auth/people", { type: "userpass" });
    await world.bao.call("POST", "auth/people/users/gw", { password: "first", ...lives });
    const passwordFile = await file("changing", "wrong");
    const backend = await world.open({
      kind: "userpass",
      mount: mountPath.parse("people"),
      username: "gw",
      passwordFile,
    });
    await assert.rejects(roundTrip(backend));
    await file("changing", "first");
    for (const end = Date.now() + 5000; ; )
      try {
        await roundTrip(backend);
        break;
      } catch (error) {
        if (Date.now() > end) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
  });
});

suite("tokens that are counted", () => {
  let world: World;
  before(async () => {
    world = await startWorld();
  });
  after(() => world.stop());

  // By itself: each use of such a token is a write of OpenBao's own, and writes at the same moment fail.
  test("approle whose tokens end after ten requests: they are replaced before", async () => {
    await world.bao.call("POST", "auth/approle/role/counted", { ...lives, token_num_uses: 10 });
    const file = async (name: string, text: string): Promise<string> => {
      await writeFile(join(world.dir, name), text, { mode: 0o600 });
      return join(world.dir, name);
    };
    const path = "auth/approle/role/counted";
    const id = await world.bao.call<{ data: { role_id: string } }>("GET", `${path}/role-id`);
    const secret = await world.bao.call<{ data: { secret_id: string } }>("POST", `${path}/secret-id`, {});
    const roleIdFile = await file("role", id.data.role_id);
    const secretIdFile = await file("secret", secret.data.secret_id);
    const backend = await world.open({
      kind: "approle",
      mount: mountPath.parse("approle"),
      wrapped: false,
      roleIdFile,
      secretIdFile,
    });
    for (let i = 0; i < 100; i++) await roundTrip(backend);
  });
});
