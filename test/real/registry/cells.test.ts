// Two gateways, each with a cell of its own, and shims that have both in their lists: every call is served,
// by the right one; the other does nothing for the cluster, in its Vault either. Then a cluster moves.
// (docs/architecture.md #cells.)
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { rowsOf, runToEnd } from "../check/programs.ts";
import { claviger } from "../cli/claviger.ts";

type AuditLine = {
  readonly type: string;
  readonly time: string;
  readonly auth?: { readonly client_token?: string };
  readonly request?: { readonly path?: string };
};

function jsonLines<T>(file: string): readonly T[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .flatMap((line) => (line === "" || !line.endsWith("}") ? [] : [JSON.parse(line) as T]));
}

for (const redis of [false, true])
  suite(`gateways that serve some clusters only, ${redis ? "with one Redis for all cells" : "without Redis"}`, () => {
    let dir: string;
    let lab: Lab;
    let clients: readonly KmsClient[];
    let served: string;

    before(async () => {
      dir = await mkdtemp(join(tmpdir(), "claviger-"));
      lab = await startLab({
        dir,
        clusters: 2,
        shims: 2,
        gateways: 2,
        redis,
        gatewayExtra: (name) => ({ serves: { matchLabels: { cell: name === "gateway-1" ? "a" : "b" } } }),
      });
      served = new Date().toISOString();
      clients = lab.shims.map(({ socket }) => kmsClient(socket));
    });
    after(async () => {
      for (const client of clients) client.close();
      await lab.stop();
      await rm(dir, { recursive: true, force: true });
    });

    const say = async (...args: readonly string[]): Promise<string> => {
      const { status, out, err } = await claviger(["cluster", ...args, "--lab", lab.file]);
      assert.equal(status, 0, err);
      return out;
    };
    /** Encrypts and decrypts. */
    const use = async (client: KmsClient | undefined): Promise<void> => {
      assert.ok(client !== undefined);
      const plaintext = randomBytes(32);
      assert.deepEqual(await client.decrypt(await client.encrypt(plaintext)), plaintext);
      assert.equal((await client.status()).healthz, "ok");
    };
    /** The verdict and the words of each row of a shim's --check, without those that are ok. */
    const check = async (i: number): Promise<{ readonly code: number | null; readonly rows: readonly string[] }> => {
      const { code, out } = await runToEnd("shim", ["--config", lab.shims[i]?.config ?? "", "--check"]);
      const bad = rowsOf(out).filter(({ verdict }) => verdict === "warning" || verdict === "failed");
      return { code, rows: bad.map(({ name, verdict, found }) => `${verdict} ${name}: ${found}`) };
    };
    const refusals = (): readonly number[] =>
      lab.gateways.map(
        ({ audit }) =>
          jsonLines<{ readonly reason?: string }>(audit).filter(({ reason }) => reason === "cluster_not_served").length,
      );
    /** The clusters whose keys each login at Vault has touched since then. */
    const touched = (since: string): readonly (readonly string[])[] => {
      const byToken = new Map<string, Set<string>>();
      for (const { type, time, auth, request } of jsonLines<AuditLine>(lab.vault?.auditLog ?? "")) {
        const key = /^transit\/.*\/(cluster-\d)(?:\/|$)/.exec(request?.path ?? "")?.[1];
        const token = auth?.client_token;
        if (type !== "request" || key === undefined || token === undefined || time < since) continue;
        byToken.set(token, (byToken.get(token) ?? new Set()).add(key));
      }
      return [...byToken.values()].map((keys) => [...keys]).toSorted((a, b) => (a.join() < b.join() ? -1 : 1));
    };

    test("a cluster of no cell is an outage to its shim, and no refusal", async () => {
      await assert.rejects(clients[0]?.encrypt(randomBytes(32)) ?? assert.fail(), { code: 14 });
      const { out } = await claviger(["cluster", "list", "--show-labels", "--lab", lab.file]);
      assert.match(out, /cluster-1 .*<none>/);
      assert.ok(refusals().every((count) => count > 0));
      const { code, rows } = await check(0);
      assert.equal(code, 1);
      assert.match(
        rows.at(-1) ?? "",
        /^failed gateways: none of them serves this cluster \| what to do: name the gateways/,
      );
      assert.deepEqual(touched(served), [], "no key was read");
    });

    test("each cluster is served by its own cell, the other is left alone", async () => {
      assert.match(await say("label", "cluster-1", "cell=a"), /has the labels cell=a, in .*\nIn force at /);
      await say("label", "cluster-2", "cell=b", "tier=gold");
      assert.match(
        await say("list", "-l", "cell=b,tier in (gold)", "--show-labels"),
        /^CLUSTER.*\ncluster-2 .*cell=b,tier=gold\n$/,
      );
      const began = new Date().toISOString();
      for (let i = 0; i < 20; i++) await Promise.all(clients.map(use));
      const before = refusals();
      for (let i = 0; i < 100; i++) await Promise.all(clients.map(use));
      const more = refusals().map((count, i) => count - (before[i] ?? 0));
      // 600 calls; a gateway of another cell is asked again after a minute, and beside one that is overdue.
      assert.ok(
        more.every((count) => count <= 6),
        `${more.join(" and ")} needless calls`,
      );
      // Canaries and polls, too: two intervals of the lab's.
      await sleep(4500);
      assert.deepEqual(touched(began), [["cluster-1"], ["cluster-2"]]);
      const { code, rows } = await check(0);
      assert.deepEqual([code, rows.length], [0, 1], rows.join("\n"));
      assert.ok(
        rows[0]?.startsWith(`warning gateway ${lab.gateways[1]?.url} cluster: it serves other clusters, and not`),
      );
      console.log(`cells: 600 calls of two clusters, ${more.join(" + ")} asked of the wrong gateway, 0 failed`);
    });

    test("key status says how often the gateways read the key, by their own word", async () => {
      const { status, out, err } = await claviger(["key", "status", "cluster-1", "--json", "--lab", lab.file]);
      assert.equal(status, 0, err);
      const { refresh } = JSON.parse(out) as { refresh: object };
      const gateways = lab.gateways.map(({ metrics }) => new URL(metrics).origin);
      assert.deepEqual(refresh, { everySeconds: 1, seenWithinSeconds: 2, gateways });
      const text = await claviger(["key", "status", "cluster-1", "--lab", lab.file]);
      assert.match(text.out, /\nread +every 1 s by the word of http:\S+, http:\S+; a rotation .* is seen within 2 s\n/);
    });

    test("a cluster that moves to the other cell under load loses no call, and the one that it left lets go of its key", async () => {
      let isOver = false;
      let calls = 0;
      let slowest = 0;
      const load = (async () => {
        while (!isOver) {
          const at = performance.now();
          await use(clients[0]);
          slowest = Math.max(slowest, performance.now() - at);
          calls += 3;
        }
      })();
      const until = Promise.withResolvers<void>();
      load.catch((error: unknown) => until.reject(error));
      const refused = await claviger(["cluster", "label", "cluster-1", "cell=b", "--lab", lab.file]);
      assert.deepEqual([refused.status, /--overwrite/.test(refused.err)], [1, true]);
      await say("label", "cluster-1", "cell=b", "--overwrite");
      await Promise.race([sleep(1500), until.promise]);
      const moved = new Date().toISOString();
      await Promise.race([sleep(4500), until.promise]);
      isOver = true;
      await load;
      assert.ok(calls > 100, `${calls} calls`);
      assert.deepEqual(touched(moved), [["cluster-1", "cluster-2"]], "one login alone, that of the other cell");
      console.log(`a move between cells: ${calls} calls, 0 failed, the slowest three took ${Math.round(slowest)} ms`);
    });
  });
