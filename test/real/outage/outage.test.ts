// What a real kube-apiserver's users see while the gateways, or the Vault behind them, are away:
// ready, then writable, then readable. (docs/architecture.md #shim.)
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startFaultyTcp, startFaultyVault, type Proxy } from "../../lab/faulty.ts";
import { type KmsClient, kmsClient } from "../../lab/kms.ts";
import type { ApiServer } from "../../lab/kubernetes.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { type LabProcess, readyLine, until } from "../../lab/process-group.ts";
import { claviger } from "../cli/claviger.ts";

const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";
const readyMs = 14_000;
const writableMs = 26_000;
/**
 * kube-apiserver believes a good Status for so long when it is asked for its readiness
 * (docs/kms-contract.md section 1.4), and we ask twice a second.
 */
const probeMs = 20_000;
const slackMs = 2500;
/** What a shim that was killed may have forgotten of the last good Status. */
const forgottenMs = 10_000;
/** Writes end so long after the last good Status (docs/kms-contract.md section 0, fact 6). */
const expiryMs = 180_000;
const value = Buffer.from("what the users need");

type Sample = { readonly at: number; readonly ready: boolean; readonly written: boolean; readonly read: boolean };

suite("the gateways, or the Vault behind them, are away", () => {
  let dir: string;
  let lab: Lab;
  let api: ApiServer;
  let toGateway: Proxy;
  let toVault: Proxy;
  let shim: LabProcess;
  let kms: KmsClient;
  let written = 0;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    let gatewayPort = 0;
    toGateway = await startFaultyTcp(() => gatewayPort);
    lab = await startLab({
      dir,
      kubernetes: true,
      redis: false,
      shimExtra: { gateways: [toGateway.url], outage: { healthyFor: `${readyMs}ms`, degradedFor: `${writableMs}ms` } },
      onGateways: ([first]) => (gatewayPort = Number(new URL(first?.url ?? "").port)),
      async vaultAddresses(addr) {
        toVault = await startFaultyVault(addr);
        return [toVault.url];
      },
    });
    const [firstApi, firstShim] = [lab.kubernetes[0], lab.shims[0]];
    assert.ok(firstApi !== undefined && firstShim !== undefined);
    api = firstApi;
    shim = firstShim.proc;
    kms = kmsClient(firstShim.socket);
    await api.createSecret("known", value);
  });
  after(async () => {
    kms.close();
    await lab.stop();
    await toGateway.close();
    await toVault.close();
    await rm(dir, { recursive: true, force: true });
  });

  const isReady = async (): Promise<boolean> => (await api.call("GET", "/readyz")).status === 200;
  const canWrite = async (): Promise<boolean> =>
    await api.createSecret(`written-${written++}`, value).then(
      () => true,
      () => false,
    );
  const canRead = async (): Promise<boolean> =>
    await api.readSecret("known").then(
      (read) => read.equals(value),
      () => false,
    );

  const restartShim = async (signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
    process.kill(shim.pid, signal);
    await shim.ended;
    shim = lab.processes.start(shim.name, shim.argv);
    await readyLine(shim);
  };

  type Restart = "SIGTERM" | "SIGKILL" | undefined;
  const outage = (what: string, proxy: () => Proxy, restart: Restart): void => {
    const how =
      restart === undefined ? "" : `, the shim ended by ${restart} in the middle of a phase and started again`;
    test(`${what} away${how}: ready in phase 1, writable in phase 2, readable for ever`, async () => {
      const samples: Sample[] = [];
      const watch = async (until: number): Promise<void> => {
        while (Date.now() < until) {
          const at = Date.now();
          const [ready, isWritten, read] = await Promise.all([isReady(), canWrite(), canRead()]);
          samples.push({ at, ready, written: isWritten, read });
          await sleep(Math.max(0, at + 500 - Date.now()));
        }
      };
      const between = (from: number, to: number): readonly Sample[] => samples.filter(({ at }) => at > from && at < to);

      assert.equal((await kms.status()).healthz, "ok");
      const began = Date.now();
      await proxy().set("refuse");
      if (restart !== undefined) {
        await watch(began + 2000);
        await Promise.all([restartShim(restart), watch(began + 4000)]);
      }
      await watch(began + readyMs + writableMs - slackMs);
      if (restart !== undefined) {
        // Once more, in the second phase: the shim goes on where it was.
        await restartShim(restart);
        const { healthz } = await kms.status();
        assert.match(healthz, /\(since \d+ s\)$/);
      }
      await watch(began + readyMs + writableMs + slackMs);

      const sure = readyMs - (restart === undefined ? slackMs : forgottenMs);
      const first = between(began, began + sure);
      assert.ok(first.length > 0 && first.every(({ ready }) => ready), "ready in phase 1");
      const second = between(began + readyMs + probeMs + slackMs, began + readyMs + writableMs);
      assert.ok(second.length > 0 && !second.some(({ ready }) => ready), "not ready in phase 2");
      assert.ok(
        samples.every(({ written: was }) => was),
        "writable in both",
      );
      assert.ok(
        samples.every(({ read }) => read),
        "readable in all",
      );
      await assert.rejects(kms.status(), { code: 14 });
      if (isFull) {
        const lastGood = began + readyMs + writableMs;
        while (await canWrite()) {
          assert.ok(Date.now() < lastGood + expiryMs + probeMs, "writes stop in phase 3");
          await sleep(1000);
        }
        console.log(
          `${what} away${how}: writes stopped ${Math.round((Date.now() - began) / 1000)} s after the outage began`,
        );
        await watch(Date.now() + 10_000);
        assert.ok(samples.slice(-5).every(({ read, written: was }) => read && !was));
      }

      await proxy().set("none");
      const back = Date.now();
      await api.waitReady(20_000);
      assert.ok((await canWrite()) && (await canRead()));
      const phases = `ready ${seconds(samples.findLast(({ ready }) => ready)?.at, began)}, writable ${seconds(samples.findLast(({ written: was }) => was)?.at, began)}`;
      console.log(
        `${what} away${how}: ${phases}, readable all the time; ready ${seconds(Date.now(), back)} after it was back`,
      );
    });
  };
  const seconds = (at: number | undefined, since: number): string => `${(((at ?? since) - since) / 1000).toFixed(1)} s`;

  const gateway = ["the gateway", () => toGateway] as const;
  const vault = ["Vault", () => toVault] as const;
  outage(...gateway, undefined);
  outage(...vault, "SIGKILL");
  if (isFull) {
    outage(...gateway, "SIGTERM");
    outage(...gateway, "SIGKILL");
    outage(...vault, undefined);
    outage(...vault, "SIGTERM");
  }

  test("a gateway that has lost its Vault credential is an outage like any other: Status goes on, and no call is refused", async () => {
    const secretIdFile = join(dir, "gateway-1.secret-id");
    const good = await readFile(secretIdFile, "utf8");
    assert.equal((await kms.status()).healthz, "ok");
    await writeFile(secretIdFile, "the wrong one");
    await lab.vault?.call("PUT", "sys/leases/revoke-prefix/auth/approle/login", {});
    await assert.rejects(kms.encrypt(value), { code: 14, details: /login/ });
    for (const end = Date.now() + readyMs / 2; Date.now() < end; await sleep(500))
      assert.equal((await kms.status()).healthz, "ok");
    assert.ok((await isReady()) && (await canWrite()) && (await canRead()));
    await writeFile(secretIdFile, good);
    await until(
      "Encrypt to work",
      undefined,
      async () => await kms.encrypt(value).then(Boolean, () => undefined),
      15_000,
    );
  });

  test("a suspended cluster is refused at once, whatever restarts; what its apiserver knows stays readable", async () => {
    const set = async (state: string): Promise<void> => {
      const { status, err } = await claviger(["cluster", state, "cluster-1", "--lab", lab.file]);
      assert.equal(status, 0, err);
    };
    await set("suspend");
    const suspended = Date.now();
    // The registry is seen within a second; a Status is asked of the gateway each time.
    while (await kms.status().then(Boolean, () => false))
      assert.ok(Date.now() - suspended < 2000, "refused within two seconds");
    await assert.rejects(kms.status(), { code: 7, details: /suspended/ });
    await restartShim("SIGKILL");
    await assert.rejects(kms.status(), { code: 7 });
    // Nor does an outage take it back.
    await toGateway.set("refuse");
    await assert.rejects(kms.status(), { code: 7 });
    await restartShim("SIGTERM");
    await assert.rejects(kms.status(), { code: 7 });
    await toGateway.set("none");
    assert.ok(await canRead());
    if (isFull) {
      while (await canWrite()) {
        assert.ok(Date.now() - suspended < expiryMs + slackMs, "writes stop within three minutes");
        await sleep(1000);
      }
      console.log(`suspended: writes stopped after ${seconds(Date.now(), suspended)}`);
      assert.ok(await canRead());
    }
    await set("resume");
    await api.waitReady(20_000);
    assert.ok((await canWrite()) && (await canRead()));
  });
});
