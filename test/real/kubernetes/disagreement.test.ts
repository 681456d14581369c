// What a real kube-apiserver does with a plugin whose Status and Encrypt disagree: why ours never
// do. On the conformance kit's reference plugin, broken on purpose. (docs/kms-contract.md section
// 0, facts 4 and 6; section 1.5.)
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { Server } from "@grpc/grpc-js";
import { decodeStored } from "../../demo/stored.ts";
import { type ApiServer, type Etcd, secretPath, startApiServer, startEtcd } from "../../lab/kubernetes.ts";
import { createProcessGroup, type ProcessGroup, until } from "../../lab/process-group.ts";
import { createKek, type Mutation, startReference } from "../../unit/conformance/reference.ts";

const value = Buffer.from("what stays readable");
/** A healthy apiserver that is asked for its readiness asks for Status at least this often. */
const probeMs = 25_000;

suite("a plugin whose answers disagree, on a real kube-apiserver", () => {
  // Short: a socket path has 107 bytes.
  const dir = mkdtempSync("/tmp/kms-");
  const socket = join(dir, "kms.sock");
  const kek = createKek();
  let processes: ProcessGroup;
  let etcd: Etcd;
  let api: ApiServer;
  let plugin: Server | undefined;
  let made = 0;

  const swap = async (mutation: Mutation): Promise<void> => {
    plugin?.forceShutdown();
    plugin = await startReference(socket, kek, mutation);
  };
  before(async () => {
    processes = createProcessGroup(dir);
    await swap("none");
    etcd = await startEtcd(processes, dir);
    api = await startApiServer({ processes, dir, name: "kube-apiserver", etcd, socket });
    await api.waitReady();
    await api.createSecret("known", value);
  });
  after(async () => {
    await processes.stopAll();
    await api.close();
    plugin?.forceShutdown();
    await rm(dir, { recursive: true, force: true });
  });

  const reasonOf = async (): Promise<string> => JSON.stringify((await api.call("GET", "/readyz/kms-providers")).json);
  const untilReason = (wanted: RegExp): Promise<string> =>
    until(
      `the apiserver to say ${wanted.source}`,
      undefined,
      async () => {
        const reason = await reasonOf();
        return wanted.test(reason) ? reason : undefined;
      },
      probeMs,
    );
  const keyIdOfNew = async (): Promise<string> => {
    const name = `made-${made++}`;
    await api.createSecret(name, value);
    const stored = await etcd.get(secretPath(name));
    assert.ok(stored !== undefined);
    return decodeStored(stored).keyId;
  };

  test("Encrypt names another key_id than Status: not ready, the old seed in use, and an Encrypt more at each probe", async () => {
    kek.keys.push(randomBytes(32));
    await swap("wrong key_id in Encrypt");
    await untilReason(/failed to rotate DEK/);
    assert.equal(await keyIdOfNew(), "k0");
    assert.deepEqual(await api.readSecret("known"), value);
    const calls = kek.calls;
    await until("another Encrypt", undefined, async () => {
      await reasonOf();
      return kek.calls > calls + 1 ? true : undefined;
    });
    await swap("none");
    await api.waitReady();
    assert.equal(await keyIdOfNew(), "k1");
  });

  test("two replicas that show different key_ids in turn: not ready again and again, though each of them is healthy", async () => {
    // Status shows k0 and k1 in turn, Encrypt knows k1 alone.
    await swap("flapping key_id");
    const reason = await untilReason(/failed to rotate DEK/);
    assert.match(reason, /statusKeyIDHash/);
    assert.deepEqual(await api.readSecret("known"), value);
  });
});
