// The registry in a real OpenBao's KV version 2: set up, edited and read by the commands and the
// gateways that people run.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { request } from "undici";
import { parse } from "yaml";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { logOf, readyLine, until } from "../../lab/process-group.ts";
import { claviger, type CliResult } from "../cli/claviger.ts";
import { atMost } from "../../lab/promised.ts";

const document = "claviger/data/registry";

suite("the registry in Vault", () => {
  let dir: string;
  let lab: Lab;
  let kms: KmsClient;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, gatewayExtra: { registry: { kind: "vault", backend: "main", mount: "claviger" } } });
    kms = kmsClient(lab.shims[0]?.socket ?? "");
  });
  after(async () => {
    kms.close();
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const run = (...args: readonly string[]): Promise<CliResult> => claviger([...args, "--lab", lab.file]);
  const done = async (...args: readonly string[]): Promise<string> => {
    const { status, out, err } = await run(...args);
    assert.equal(status, 0, `${err}\n${out}`);
    return out;
  };
  const codeOf = (): Promise<number> =>
    kms.status().then(
      () => 0,
      (error: unknown) => (error as { readonly code: number }).code,
    );
  /** How long until Status says so, milliseconds. */
  const untilCode = async (code: number): Promise<number> => {
    const began = Date.now();
    await until(`Status to be ${code}`, undefined, async () => ((await codeOf()) === code ? true : undefined), 15_000);
    return Date.now() - began;
  };
  const registryCheck = async (): Promise<string> => {
    const reply = await request(String(lab.gateways[0]?.metrics).replace("/metrics", "/readyz"));
    return ((await reply.body.json()) as { checks: { registry: string } }).checks.registry;
  };

  test("gateways start where there is none yet: they serve nobody, as in an outage, and say why", async () => {
    assert.equal(await codeOf(), 14);
    assert.match(await registryCheck(), /cannot be read/);
  });

  test("vault init makes the store and a policy that may read it and nothing else; cluster add fills it; the gateways serve without a restart", async () => {
    const first = await done("vault", "init", "--update");
    assert.match(first, /create +mount claviger \(kv\)/);
    assert.match(first, /ok +claviger\/data\/registry +read the registry/);
    assert.match(first, /denied +claviger\/data\/registry +create, update, delete/);
    assert.match(first, /denied +claviger\/destroy\/registry/);
    assert.match(first, /ok +claviger\/metadata\/registry\/clusters\/ +list the clusters/);
    assert.match(first, /denied +claviger\/data\/registry\/clusters\/another-cluster +create, update, delete/);
    // As 0.1.0 has written it.
    const added = await done("cluster", "add", "cluster-1", "--backend", "main", "--mount", "transit", "--dry-run");
    const [record] = parse(added.replace(/^added[^]*/m, "")) as Record<string, unknown>[];
    await lab.vault?.call("POST", document, { data: { clusters: [{ ...record, former: [] }] } });
    assert.match(await done("cluster", "list"), /cluster-1 +active/);
    await done("vault", "init", "--update");
    assert.match(await done("vault", "init"), /Nothing was changed/);
    await untilCode(0);
    assert.equal(await registryCheck(), "ok");
  });

  test("an edit is in force within a second, told by Redis", async () => {
    await done("cluster", "suspend", "cluster-1");
    assert.ok((await untilCode(7)) <= atMost(1000));
    await done("cluster", "resume", "cluster-1");
    assert.ok((await untilCode(0)) <= 1000);
  });

  /**
   * As Terraform or `vault kv put` would: no gateway is told. How long until it is in force,
   * milliseconds.
   */
  const editByHand = async (state: string, code: number): Promise<number> => {
    const found = await lab.vault?.call<{ data: { data: { clusters: Record<string, unknown>[] } } }>("GET", document);
    await lab.vault?.call("POST", document, {
      data: { clusters: found?.data.data.clusters.map((record) => ({ ...record, state })) },
    });
    return await untilCode(code);
  };

  const isSeenWithinASecond = async (): Promise<void> => {
    for (const [state, code] of [
      ["suspended", 7],
      ["active", 0],
    ] as const) {
      const took = await editByHand(state, code);
      assert.ok(took <= 1000, `${took} ms`);
    }
  };

  test("so is one that nobody tells of: one gateway reads for all", isSeenWithinASecond);

  test("and so it is from the moment Redis is gone", async () => {
    await lab.processes.stop(lab.redis?.proc() ?? assert.fail("no Redis"));
    await isSeenWithinASecond();
    await lab.redis?.start();
  });

  test("a bad edit keeps the last good one in force and is named", async () => {
    const before = await lab.vault?.call<{ data: { data: unknown } }>("GET", document);
    await lab.vault?.call("POST", document, { data: { clusters: "nonsense" } });
    await until(
      "the gateway to say so",
      undefined,
      async () => ((await registryCheck()) === "ok" ? undefined : true),
      10_000,
    );
    assert.equal(await codeOf(), 0);
    const { status, err } = await run("cluster", "suspend", "cluster-1");
    assert.equal(status, 1);
    assert.match(err, /registry main: claviger\/registry/);
    await lab.vault?.call("POST", document, { data: before?.data.data });
    await until(
      "the gateway to take it",
      undefined,
      async () => ((await registryCheck()) === "ok" ? true : undefined),
      10_000,
    );
  });

  test("upgrade gives each cluster a document of its own: no call fails, and uids stay", async () => {
    const uidOf = async (): Promise<unknown> =>
      (JSON.parse(await done("cluster", "list", "--json")) as { readonly uid: string }[])[0]?.uid;
    const uid = await uidOf();
    const sealed = await kms.encrypt(Buffer.alloc(32, 7));
    let isOver = false;
    const calls = (async () => {
      let count = 0;
      for (; !isOver; count += 1) await kms.decrypt(sealed);
      return count;
    })();
    const said = await done("registry", "upgrade", "--gateway", new URL(lab.gateways[0]?.metrics ?? "").origin);
    isOver = true;
    assert.ok((await calls) > 10);
    assert.match(said, /written: cluster-1\n.*each of 1 clusters has a document of its own/);
    assert.match(said, /In force at/);
    assert.equal(await uidOf(), uid);
    assert.equal(await registryCheck(), "ok");
    assert.match(await done("registry", "upgrade"), /each cluster has a document of its own already/);
  });

  test("an edit of a cluster's document is in force within a second, with Redis and without", async () => {
    const isFast = async (): Promise<void> => {
      for (const [verb, code] of [
        ["suspend", 7],
        ["resume", 0],
      ] as const) {
        const began = Date.now();
        const told = run("cluster", verb, "cluster-1");
        await untilCode(code);
        assert.equal((await told).status, 0);
        // The command itself starts in that time.
        assert.ok(Date.now() - began <= atMost(5000));
      }
    };
    await isFast();
    await lab.processes.stop(lab.redis?.proc() ?? assert.fail("no Redis"));
    await isFast();
    await lab.redis?.start();
  });

  test("a record that is edited by hand is in force when the index says so, and a bad one holds up no other", async () => {
    const at = `${document}/clusters/cluster-1`;
    type Held = { readonly data: { readonly data: Record<string, unknown> } };
    const raise = async (sequence: number): Promise<void> => {
      await lab.vault?.call("POST", `${document}/index`, { data: { sequence, changed: [`${sequence} cluster-1`] } });
    };
    const index = await lab.vault?.call<Held>("GET", `${document}/index`);
    const sequence = Number(index?.data.data["sequence"]);
    const held = await lab.vault?.call<Held>("GET", at);
    const record = { ...held?.data.data, generation: Number(held?.data.data["generation"]) + 1 };
    await lab.vault?.call("POST", at, { data: { ...record, state: "suspended" } });
    await raise(sequence + 1);
    assert.ok((await untilCode(7)) <= 1000);
    await lab.vault?.call("POST", at, { data: { ...record, state: "nonsense" } });
    await raise(sequence + 2);
    await until("it to be named", undefined, async () => ((await registryCheck()) === "ok" ? undefined : true), 5000);
    assert.equal(await codeOf(), 7);
    await lab.vault?.call("POST", at, { data: { ...record, state: "active" } });
    await raise(sequence + 3);
    await untilCode(0);
  });

  test("of edits at the same time none is lost: each cluster has its own document", async () => {
    const names = ["a", "b", "c", "d"].map((letter) => `cluster-${letter}`);
    const results = await Promise.all(
      names.map((name) => run("cluster", "add", name, "--backend", "main", "--mount", "transit")),
    );
    const added = names.filter((_, i) => results[i]?.status === 0);
    assert.deepEqual(added, names, results.map(({ err }) => err).join("\n"));
    const list = await done("cluster", "list");
    for (const name of names) assert.equal(list.includes(name), added.includes(name), name);
  });

  test("an earlier key version that decrypts no longer is an alarm, and Status stays good", async () => {
    assert.ok(lab.vault !== undefined && lab.gateways[0] !== undefined);
    const { vault, gateways } = lab;
    const [gateway] = gateways;
    const key = "transit/keys/cluster-1";
    type List = { readonly data?: { readonly keys: readonly string[] } };
    const kept = async (): Promise<number> => {
      const { data } = await vault.call<List>("LIST", "claviger/metadata/registry-canary", undefined, [200, 404]);
      const documents = await Promise.all(
        (data?.keys ?? []).map((name) =>
          vault.call<{ data: { data: { key: string; versions: unknown[] } } }>("GET", `${document}-canary/${name}`),
        ),
      );
      return documents.find((one) => one.data.data.key === "main:transit/cluster-1")?.data.data.versions.length ?? 0;
    };
    await until("a ciphertext to be kept", undefined, async () => ((await kept()) === 1 ? true : undefined), 15_000);
    await vault.call("POST", `${key}/rotate`);
    await until("one of the new version", undefined, async () => ((await kept()) === 2 ? true : undefined), 15_000);
    const broken = async (): Promise<number> =>
      Number(
        /^claviger_gateway_broken_key_versions(?:\{.*\})? (\d+)$/m.exec(
          await (await request(gateway?.metrics ?? "")).body.text(),
        )?.[1],
      );
    assert.equal(await broken(), 0);
    // Somebody makes the key anew.
    await vault.call("POST", `${key}/config`, { deletion_allowed: true });
    await vault.call("DELETE", key);
    await vault.call("POST", key, { type: "aes256-gcm96" });
    await until("the alarm", undefined, async () => ((await broken()) > 0 ? true : undefined), 20_000);
    assert.match(logOf(gateway?.proc ?? assert.fail("a gateway")), /"event":"previous-version-broken"/);
    await untilCode(0);
    assert.equal((await kms.status()).healthz, "ok");
  });

  test("a gateway that starts while Vault is sealed waits for it, and serves when it is back", async () => {
    const [gateway] = lab.gateways;
    assert.ok(gateway !== undefined && lab.vault !== undefined);
    await lab.vault.call("PUT", "sys/seal");
    const restarted = await lab.processes.restart(gateway.proc);
    await readyLine(restarted);
    await assert.rejects(kms.encrypt(Buffer.alloc(32, 1)), { code: 14 });
    await lab.vault.unseal();
    await until(
      "Encrypt to work",
      undefined,
      async () => await kms.encrypt(Buffer.alloc(32, 1)).then(Boolean, () => undefined),
      20_000,
    );
  });
});
