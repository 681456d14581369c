// A kube-apiserver that starts with thousands of Secrets under many seeds in etcd and none of the
// seeds in memory: the worst it does to a KMS plugin.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createKmsClient } from "@claviger/cli/src/kms-client.ts";
import { createApiserver } from "../../demo/apiserver.ts";
import { providerName } from "../../lab/encryption.ts";
import { type ApiServer, type Etcd, secretPath } from "../../lab/kubernetes.ts";
import { type Lab, startLab } from "../../lab/lab.ts";

/**
 * Seeds that the real apiserver makes, one at each start; the others are made as it makes them, by
 * the demo's.
 */
const realSeeds = process.env["CLAVIGER_TEST_FULL"] === "1" ? 100 : 3;
const seeds = 100;
const perSeed = 50;
const total = seeds * perSeed;

type List = {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly data: { readonly value: string };
  }[];
};
type AuditLine = {
  readonly method: string;
  readonly outcome: string;
  readonly count?: number;
  readonly uids?: readonly string[];
};

function nameOf(n: number): string {
  return `secret-${String(n).padStart(4, "0")}`;
}
function valueOf(n: number): string {
  return Buffer.from(`value of ${n}`).toString("base64");
}

suite(`${total} Secrets under ${seeds} seeds`, () => {
  let dir: string;
  let lab: Lab;
  let api: ApiServer;
  let etcd: Etcd;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, kubernetes: true, redis: false });
    const [first] = lab.kubernetes;
    assert.ok(first !== undefined && lab.etcd !== undefined);
    [api, etcd] = [first, lab.etcd];
  });
  after(async () => {
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  // A gateway's audit is the count of what was asked of it: one record for each request, with the
  // number of calls that it stands for.
  const decryptsAudited = (from: number): { readonly requests: number; readonly decrypts: number } => {
    const lines = readFileSync(lab.gateways[0]?.audit ?? "", "utf8")
      .trimEnd()
      .split("\n")
      .slice(from);
    const records = lines.map((line) => JSON.parse(line) as AuditLine).filter(({ method }) => /decrypt/i.test(method));
    assert.ok(records.every(({ outcome }) => outcome === "ok"));
    return { requests: records.length, decrypts: records.reduce((sum, { count = 1 }) => sum + count, 0) };
  };
  const linesAudited = (): number =>
    readFileSync(lab.gateways[0]?.audit ?? "", "utf8")
      .trimEnd()
      .split("\n").length;

  test(`made: ${realSeeds} groups by the apiserver itself, restarted after each, the others as it writes them`, async () => {
    const group = (n: number): readonly number[] => Array.from({ length: perSeed }, (_, i) => n * perSeed + i);
    for (let n = 0; n < realSeeds; n++) {
      await Promise.all(
        group(n).map((secret) => api.createSecret(nameOf(secret), Buffer.from(valueOf(secret), "base64"))),
      );
      await api.restart();
    }
    const kms = createKmsClient({ socket: api.socket });
    for (let n = realSeeds; n < seeds; n++) {
      const fresh = createApiserver({ kms, provider: providerName });
      await fresh.poll();
      const write = async (secret: number): Promise<void> => {
        const object = {
          apiVersion: "v1",
          kind: "Secret",
          metadata: {
            name: nameOf(secret),
            namespace: "default",
            uid: crypto.randomUUID(),
            creationTimestamp: "2026-01-01T00:00:00Z",
          },
          data: { value: valueOf(secret) },
          type: "Opaque",
        };
        const path = secretPath(nameOf(secret));
        await etcd.put(path, fresh.write(path, Buffer.from(JSON.stringify(object))));
      };
      await Promise.all(group(n).map(write));
    }
    kms.close();
  });

  test("the apiserver starts with all seeds cold, reads every Secret right, and asks about once for each seed", async () => {
    // The apiserver that ran so far has seen them all, and asks for nothing while it ends.
    const readOneOfEach = async (): Promise<void> => {
      for (let n = 0; n < total; n += perSeed)
        assert.equal((await api.readSecret(nameOf(n))).toString("base64"), valueOf(n));
    };
    await readOneOfEach();
    const from = linesAudited();
    const began = Date.now();
    await api.restart();
    const ready = Date.now();
    const { status, json } = await api.call<List>("GET", "/api/v1/namespaces/default/secrets");
    assert.equal(status, 200, JSON.stringify(json).slice(0, 300));
    const found = new Map(json.items.map(({ metadata, data }) => [metadata.name, data.value]));
    assert.equal(found.size, total);
    for (let n = 0; n < total; n++) assert.equal(found.get(nameOf(n)), valueOf(n));
    const cold = decryptsAudited(from);
    console.log(
      `${total} Secrets under ${seeds} seeds: ready after ${((ready - began) / 1000).toFixed(1)} s, listed after ${((Date.now() - began) / 1000).toFixed(1)} s; ${cold.decrypts} Decrypts in ${cold.requests} requests to the gateway`,
    );
    assert.ok(cold.decrypts >= seeds - 1, "it was cold");
    // Two of its readers may both miss its cache for a seed; the shim answers the second with the first one's result
    // unless that one's thread was held up for longer than the result is kept (50 ms).
    assert.ok(cold.decrypts <= seeds + 2, `${cold.decrypts} Decrypts for ${seeds} seeds`);
    // What it reads one by one is what lies in etcd, and asks for nothing any more.
    await readOneOfEach();
    assert.deepEqual(decryptsAudited(from), cold);
  });
});
