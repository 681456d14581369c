// Two gateways of which one has not read an edit of the registry yet: what the shim has seen through
// the other one holds. (docs/architecture.md #rotation and #registry.)
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { changeRecord } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { fileSource } from "@claviger/gateway-core/src/registry/edit/source.ts";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { until } from "../../lab/process-group.ts";
import { freeze } from "../../lab/freeze.ts";

const lagMs = process.env["CLAVIGER_TEST_FULL"] === "1" ? 15_000 : 4000;
const suspended = { code: 7, details: /suspended/ };

suite("two gateways that know different registries", () => {
  let dir: string;
  let lab: Lab;
  let client: KmsClient;
  /** Read by the second gateway alone. */
  const laggard = (): string => join(dirname(lab.registry), "laggard.yaml");
  const catchUp = (): void => copyFileSync(lab.registry, laggard());

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({
      dir,
      clusters: 2,
      shims: 1,
      gateways: 2,
      gatewayExtra: (name) => {
        if (name === "gateway-1") return {};
        copyFileSync(join(dir, "clusters.yaml"), join(dir, "laggard.yaml"));
        return { registry: { kind: "file", file: join(dir, "laggard.yaml") } };
      },
    });
    client = kmsClient(lab.shims[0]?.socket ?? "");
  });
  after(async () => {
    client.close();
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const pidOf = (gateway: number): number => lab.gateways[gateway]?.proc.pid ?? Number.NaN;
  /** Now and then the gateway that knows is slow, so that the other one is asked as well. */
  const during = async (call: () => Promise<unknown>): Promise<void> => {
    let isOver = false;
    const pausing = (async () => {
      for (; !isOver; await sleep(300)) {
        freeze(pidOf(0));
        await sleep(200);
        process.kill(pidOf(0), "SIGCONT");
      }
    })();
    try {
      for (const end = Date.now() + lagMs; Date.now() < end; await sleep(20)) await call();
    } finally {
      isOver = true;
      await pausing;
    }
  };
  /** Shims stay with the gateway that answers fastest: this makes them ask the one that knows. */
  const seenByNode = async <T>(what: string, look: () => Promise<T | undefined>): Promise<T> => {
    freeze(pidOf(1));
    try {
      return await until(what, undefined, look);
    } finally {
      process.kill(pidOf(1), "SIGCONT");
    }
  };

  test("a key that moved: no call fails, whichever is asked", async () => {
    const old = await client.encrypt(randomBytes(32));
    const moved = readFileSync(lab.registry, "utf8").replace(
      /state: active\n(\s+)(rotation: auto\n\s+)keys:\n(\s+- backend: main\n\s+mount: transit\n\s+key: )cluster-1\n/,
      "state: active\n$1generation: 1\n$1$2keys:\n$3cluster-2\n$1previousKeys:\n$3cluster-1\n",
    );
    writeFileSync(lab.registry, moved);
    const moving = await seenByNode("the new key", async () => {
      const { keyId } = await client.status();
      return keyId === old.keyId ? undefined : keyId;
    });
    await during(async () => {
      const sealed = await client.encrypt(randomBytes(32));
      assert.equal(sealed.keyId, moving);
      assert.equal((await client.decrypt(sealed)).length, 32);
      assert.equal((await client.decrypt(old)).length, 32);
      assert.equal((await client.status()).keyId, moving);
    });
    assert.match(readFileSync(lab.gateways[1]?.audit ?? "", "utf8"), /gateway_behind/, "the other one was asked");
    catchUp();
  });

  test("a cluster that is suspended at one of them stays suspended for its node, and is resumed at both", async () => {
    const sealed = await client.encrypt(randomBytes(32));
    const registry = fileSource({ file: lab.registry, backends: new Set(["main"]) });
    await changeRecord(registry, "cluster-1", () => ({ state: "suspended" }));
    await seenByNode("the first refusal", async () => {
      const refused = await client.status().then(
        () => false,
        (error: unknown) => suspended.details.test(String(error)),
      );
      return refused ? true : undefined;
    });
    let served = 0;
    await during(async () => {
      const calls = [client.status(), client.encrypt(randomBytes(32)), client.decrypt(sealed)];
      served += (await Promise.allSettled(calls)).filter(({ status }) => status === "fulfilled").length;
    });
    assert.equal(served, 0);
    await assert.rejects(client.status(), suspended);
    await changeRecord(registry, "cluster-1", () => ({ state: "active" }));
    catchUp();
    await until("service", undefined, async () => {
      const opened = await client.decrypt(sealed).catch(() => undefined);
      return opened;
    });
    assert.equal((await client.status()).healthz, "ok");
  });
});
