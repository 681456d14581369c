// Clusters apart, replicas together, and no secret where none belongs: two gateways and two shims
// on a real OpenBao and Redis.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { associatedData } from "@claviger/gateway-core/src/key/key-id.ts";
import { request } from "undici";
import { kmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { longestDifference, shownBy, watchKeyIds } from "../../lab/shim-load.ts";

type AuditLine = {
  readonly type: string;
  readonly auth?: { readonly display_name?: string };
  readonly request?: { readonly path?: string };
  readonly response?: { readonly data?: { readonly http_status_code?: number } };
};

function linesOf<T>(file: string): readonly T[] {
  return readFileSync(file, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as T);
}

suite("two clusters on one shared Transit key", () => {
  let dir: string;
  let lab: Lab;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, clusters: 2, shims: 2, gateways: 2, sharedKey: true });
  });
  after(async () => {
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  test("cluster-1's ciphertext presented by cluster-2 is refused by OpenBao itself", async () => {
    const [one, two] = lab.shims.map(({ socket }) => kmsClient(socket));
    assert.ok(one !== undefined && two !== undefined && lab.vault !== undefined);
    const sealed = await one.encrypt(randomBytes(32));
    assert.equal((await one.decrypt(sealed)).length, 32);
    const own = await two.encrypt(randomBytes(32));
    // Both stand under the very same key: only the associated data keeps them apart.
    assert.equal(decodeEnvelope(sealed.ciphertext).wraps[0]?.key, decodeEnvelope(own.ciphertext).wraps[0]?.key);

    const seen = linesOf<AuditLine>(lab.vault.auditLog).length;
    await assert.rejects(two.decrypt(sealed), {
      code: 3,
      details: "claviger: this ciphertext cannot be decrypted for this cluster",
    });
    const since = linesOf<AuditLine>(lab.vault.auditLog).slice(seen);
    const refusal = since.find(
      ({ type, request: asked }) => type === "response" && asked?.path === "transit/decrypt/shared",
    );
    // A batch is answered with a status of its own, in which OpenBao says that the one item failed.
    assert.equal(refusal?.auth?.display_name, "approle", "a gateway asked OpenBao");
    assert.equal(refusal.response?.data?.http_status_code, 400, "and its own audit log has the refusal");

    // OpenBao's own words, for the same ciphertext and cluster-2's associated data.
    const [mine, theirs] = [decodeEnvelope(own.ciphertext), decodeEnvelope(sealed.ciphertext)];
    const wrap = theirs.wraps[0];
    assert.ok(wrap !== undefined);
    const ask = async (clusterUid: typeof mine.clusterUid): Promise<string> =>
      JSON.stringify(
        await lab.vault?.call(
          "POST",
          "transit/decrypt/shared",
          {
            ciphertext: `vault:v${wrap.version}:${Buffer.from(wrap.ciphertext).toString("base64")}`,
            associated_data: Buffer.from(associatedData(clusterUid, theirs.keyId, wrap.backend)).toString("base64"),
          },
          [200, 400],
        ),
      );
    assert.match(await ask(mine.clusterUid), /message authentication failed/);
    assert.match(await ask(theirs.clusterUid), /plaintext/);
    one.close();
    two.close();
  });
});

suite("two gateways, two shims, one cluster", () => {
  let dir: string;
  let lab: Lab;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, shims: 2, gateways: 2 });
  });
  after(async () => {
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  test("both shims show the same key_id at all times but one propagation, and never go back", async () => {
    const clients = lab.shims.map(({ socket }) => kmsClient(socket));
    const watch = watchKeyIds(clients);
    let current = await watch.agreed();
    for (let rotation = 0; rotation < 3; rotation++) {
      await lab.vault?.call("POST", "transit/keys/cluster-1/rotate");
      current = await watch.agreed(current);
      // Time for a shim to show an earlier one again, if it ever did.
      await sleep(1000);
    }
    const history = await watch.stop();
    for (const i of clients.keys()) {
      const shown = shownBy(history, i);
      assert.equal(new Set(shown).size, shown.length, "no key_id came back");
      assert.equal(shown.length, 4, "one change for each rotation");
    }
    // refresh is 1 s in the lab, so a propagation is at most 2 s.
    const longest = longestDifference(history);
    assert.ok(longest <= 2000, `${longest} ms`);
    for (const client of clients) client.close();
  });

  test("what is secret is in no log, metric, error or file of ours, and not in Redis", async () => {
    const [client] = lab.shims.map(({ socket }) => kmsClient(socket));
    assert.ok(client !== undefined && lab.vault !== undefined && lab.redis !== undefined);
    const plaintext = Buffer.from("canary-plaintext-0123456789abcdef".slice(0, 32));
    const errors: string[] = [];
    const sealed = await client.encrypt(plaintext);
    await client.decrypt(sealed);
    const tampered = Buffer.from(sealed.ciphertext);
    tampered[tampered.length - 1] = (tampered.at(-1) ?? 0) ^ 1;
    await client.decrypt({ ...sealed, ciphertext: tampered }).catch((error: unknown) => errors.push(String(error)));
    // A refused login and a refused operation, whose errors must not carry what was refused.
    const wrongSecret = "canary-secret-id-of-somebody";
    const secretIdFile = join(dir, "gateway-1.secret-id");
    const goodSecret = readFileSync(secretIdFile, "utf8");
    // Neither gateway can log in, and their tokens are gone.
    for (const gateway of ["gateway-1", "gateway-2"]) writeFileSync(join(dir, `${gateway}.secret-id`), wrongSecret);
    await lab.vault.call("PUT", "sys/leases/revoke-prefix/auth/approle/login", {});
    await client.encrypt(plaintext).catch((error: unknown) => errors.push(String(error)));
    assert.ok(errors.length >= 2, "a refused login was met");
    writeFileSync(secretIdFile, goodSecret);

    const metrics = await Promise.all(
      [...lab.shims, ...lab.gateways].map(async ({ metrics: url }) => (await request(url)).body.text()),
    );
    const redis = lab.redis.connect();
    const keys = await redis.keys("*");
    const valueOf = async (key: string): Promise<string> =>
      (await redis.type(key)) === "hash" ? JSON.stringify(await redis.hgetall(key)) : String(await redis.get(key));
    const values = await Promise.all(keys.map(valueOf));
    redis.disconnect();
    assert.ok(keys.length > 0, "the gateways use Redis");

    // Files that hold a credential because that is what they are for.
    const credentials = new Set([
      secretIdFile,
      join(dir, "gateway-2.secret-id"),
      lab.vault.tokenFile,
      join(dir, "openbao", "unseal.key"),
      lab.redis.passwordFile,
      join(dir, "redis", "redis.conf"),
    ]);
    const files = readdirSync(dir, { recursive: true, encoding: "utf8" })
      .map((name) => join(dir, name))
      .filter(
        (file) =>
          statSync(file, { throwIfNoEntry: false })?.isFile() === true &&
          !credentials.has(file) &&
          !file.endsWith(".key") &&
          !file.includes("openbao/raft"),
      );
    assert.ok(
      files.some((file) => file.endsWith("gateway-1.log")) && files.some((file) => file.endsWith("audit.jsonl")),
    );
    const places = new Map<string, string>(files.map((file) => [file, readFileSync(file, "latin1")]));
    places.set("metrics", metrics.join("\n"));
    places.set("redis", [...keys, ...values].join("\n"));
    places.set("errors", errors.join("\n"));

    const keyBody = (file: string): string => readFileSync(file, "utf8").split("\n")[1] ?? "";
    const secrets = new Map([
      ["plaintext", plaintext.toString()],
      ["plaintext, base64", plaintext.toString("base64")],
      ["plaintext, hex", plaintext.toString("hex")],
      ["root token", readFileSync(lab.vault.tokenFile, "utf8")],
      ["secret-id", goodSecret],
      ["refused secret-id", wrongSecret],
      ["Redis password", readFileSync(lab.redis.passwordFile, "utf8")],
      ["gateway's key", keyBody(join(dir, "pki", "gateway-1.key"))],
      ["shim's key", keyBody(join(dir, "pki", "cluster-1.node-1.key"))],
    ]);
    for (const [what, secret] of secrets) {
      assert.ok(secret.length > 3, what);
      for (const [place, text] of places) assert.ok(!text.includes(secret), `${what} stands in ${place}`);
    }
    // The gateways' own tokens, which only they know, by their form: OpenBao's and Vault's.
    const token = /\b(?:s\.[A-Za-z0-9]{24}|hvs\.[\w-]{20,})/;
    assert.match(readFileSync(lab.vault.tokenFile, "utf8"), token);
    for (const [place, text] of places) assert.ok(!token.test(text), `a token stands in ${place}`);
    client.close();
  });
});
