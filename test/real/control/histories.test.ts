// What a real fleet has done, as the fleet service tells it: steps that two gateways have counted, key_ids over time,
// and the service's own audit records. (docs/architecture.md #histories.)
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createKmsClient } from "@claviger/cli/src/kms-client.ts";
import { callsOf, type FleetCall } from "../../lab/fleet-call.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { until } from "../../lab/process-group.ts";

type Point = Readonly<Record<string, unknown>> & {
  readonly at: string;
  readonly calls?: Readonly<Record<string, number>>;
  readonly refusals?: Readonly<Record<string, number>>;
};

suite("the history of a fleet", () => {
  let dir: string;
  let lab: Lab;
  let ada: FleetCall;
  const ask = async (method: string, message: object = {}) => {
    const { code, message: why, json } = await ada(lab.fleet?.url ?? "", method, message);
    assert.equal(code, "ok", `${method}: ${why}`);
    return json;
  };
  const pointsOf = async (message: object): Promise<readonly Point[]> =>
    ((await ask("GetHistory", { period: "hour", ...message }))["points"] ?? []) as readonly Point[];
  const sumOf = (points: readonly Point[], operation: string): number =>
    points.reduce((sum, { calls }) => sum + (calls?.[operation] ?? 0), 0);

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir: join(dir, "lab"), gateways: 2, shims: 2, clusters: 2, fleet: true });
    ada = await callsOf(lab.pki, "ada");
  });
  after(async () => {
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  test("calls and refusals of a cluster, of each gateway and of the fleet are there within two steps", async () => {
    const kms = createKmsClient({ socket: lab.shims[0]?.socket ?? "" });
    const { keyId } = await kms.status();
    const plaintext = Buffer.alloc(32, 7);
    const { ciphertext } = await kms.encrypt({ plaintext, uid: "one" });
    for (let i = 0; i < 5; i += 1) await kms.decrypt({ ciphertext, keyId, uid: `d-${i}` });
    await assert.rejects(kms.decrypt({ ciphertext: Buffer.alloc(64, 1), keyId, uid: "wrong" }));
    kms.close();
    const points = await until(
      "the step",
      undefined,
      async () => {
        const found = await pointsOf({ cluster: "cluster-1" });
        return sumOf(found, "encrypt") >= 1 && found.some(({ refusals }) => refusals !== undefined) ? found : undefined;
      },
      30_000,
    );
    assert.equal(sumOf(points, "encrypt"), 1);
    assert.ok(sumOf(points, "status") >= 1);
    assert.ok(points.every(({ knownSeconds }) => knownSeconds === 10));
    const other = await pointsOf({ cluster: "cluster-2" });
    assert.equal(sumOf(other, "encrypt"), 0);
    const gateways = ((await ask("ListGateways"))["gateways"] ?? []) as readonly { readonly name: string }[];
    assert.equal(gateways.length, 2);
    const own = await Promise.all(gateways.map(({ name }) => pointsOf({ gateway: name })));
    assert.equal(
      own.reduce((sum, one) => sum + sumOf(one, "encrypt"), 0),
      1,
    );
    for (const one of own)
      assert.ok(
        one.some(
          ({ eventLoop, latencyMilliseconds }) => typeof eventLoop === "number" && latencyMilliseconds !== undefined,
        ),
      );
    assert.equal(sumOf(await pointsOf({}), "encrypt"), 1);
    const month = (await ask("GetHistory", { period: "month" }))["points"] as readonly Point[];
    assert.equal(sumOf(month, "encrypt"), 1);
  });

  test("a line of a cluster says what is known of its nodes, its key and its calls", async () => {
    const lines = await until(
      "the key",
      undefined,
      async () => {
        const found = ((await ask("ListClusterStatus"))["clusters"] ?? []) as readonly Readonly<
          Record<string, unknown>
        >[];
        return found.every(({ keyVersion }) => keyVersion === 1) ? found : undefined;
      },
      30_000,
    );
    assert.deepEqual(
      lines.map(({ cluster, state }) => [cluster, state]),
      [
        ["cluster-1", "active"],
        ["cluster-2", "active"],
      ],
    );
    for (const { keyReadAt, nodes, calls, phase = 0 } of lines) {
      assert.ok(Date.now() - Date.parse(String(keyReadAt)) < 60_000);
      assert.deepEqual([nodes, phase], [{ ok: 1 }, 0]);
      assert.ok((calls as readonly number[]).some((count) => count >= 0));
    }
  });

  test("which node was shown which key_id, before and after a rotation", async () => {
    const before = (await ask("GetKeyTimeline", { cluster: "cluster-2" }))["currentKeyId"];
    await ask("RotateKey", { name: "cluster-2", reason: "a test" });
    const kms = createKmsClient({ socket: lab.shims[1]?.socket ?? "" });
    const after = await until(
      "the new key_id",
      undefined,
      async () => {
        const { keyId } = await kms.status();
        return keyId !== before ? keyId : undefined;
      },
      30_000,
    );
    kms.close();
    const shown = await until(
      "the observation",
      undefined,
      async () => {
        const found = ((await ask("GetKeyTimeline", { cluster: "cluster-2" }))["shown"] ?? []) as readonly Readonly<
          Record<string, unknown>
        >[];
        return found.some(({ keyId }) => keyId === after) ? found : undefined;
      },
      30_000,
    );
    assert.deepEqual(
      shown.map(({ node, keyId, version }) => [node, keyId, version]),
      [
        ["node-2", before, 1],
        ["node-2", after, 2],
      ],
    );
  });

  test("the service's records are searched newest first, and are what it has written", async () => {
    const { records } = (await ask("SearchAudit", { methods: ["rotateKey"] })) as {
      readonly records: readonly Readonly<Record<string, unknown>>[];
    };
    assert.deepEqual(
      records.map(({ operator, target, reason, outcome }) => [operator, target, reason, outcome]),
      [["ada", "cluster-2", "a test", "ok"]],
    );
    const good = await ask("GetAuditState", { verify: true });
    assert.deepEqual(
      (good["verification"] as Readonly<Record<string, unknown>>)["result"],
      "good",
      JSON.stringify(good),
    );
    assert.deepEqual([good["file"], good["required"]], [lab.fleet?.audit, true]);
    assert.match(String(good["chain"]), /^[0-9a-f-]{36}$/);
  });

  test("a line that somebody has changed is named", async () => {
    const file = lab.fleet?.audit ?? "";
    const told = await readFile(file, "utf8");
    await writeFile(file, told.replace('"because":"a test"', '"because":"a jest"'));
    const found = await until(
      "another look",
      undefined,
      async () => {
        const { verification } = (await ask("GetAuditState", { verify: true })) as {
          readonly verification: Readonly<Record<string, unknown>>;
        };
        return verification["result"] === "tampered" ? verification : undefined;
      },
      90_000,
    );
    assert.equal((found["findings"] as readonly { readonly kind: string }[])[0]?.kind, "edited");
  });

  test("without Redis it is said that nothing is known", async () => {
    const { redis } = lab;
    assert.ok(redis !== undefined);
    await lab.processes.stop(redis.proc());
    const history = await until(
      "the end of Redis",
      undefined,
      async () => {
        const found = await ask("GetHistory", { period: "hour" });
        return found["incomplete"] !== undefined ? found : undefined;
      },
      30_000,
    );
    assert.match(String(history["incomplete"]), /the history of the fleet cannot be read: Redis is away/);
    const { clusters, incomplete } = (await ask("ListClusterStatus")) as {
      readonly clusters: readonly Readonly<Record<string, unknown>>[];
      readonly incomplete: string;
    };
    assert.match(incomplete, /cannot be read/);
    for (const { nodes, keyVersion, refused, calls } of clusters) {
      assert.deepEqual([nodes, keyVersion, refused], [undefined, undefined, undefined]);
      assert.ok((calls as readonly number[]).every((count) => count === -1));
    }
  });
});
