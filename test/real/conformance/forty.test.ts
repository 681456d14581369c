// All forty checks of the conformance kit on our own socket: with the vault backend on a real
// OpenBao, and with the embedded one.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createKeyJournal } from "@claviger/gateway-core/src/backend/key-journal.ts";
import { request } from "undici";
import { allChecks } from "../../conformance/all.ts";
import { runChecks, type Target } from "../../conformance/check.ts";
import { rssOf, startInstance } from "../../conformance/commands.ts";
import { type Fault, type Proxy, startFaultyTcp, startFaultyVault } from "../../lab/faulty.ts";
import { type Lab, type LabOptions, startLab } from "../../lab/lab.ts";
import { claviger } from "../cli/claviger.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const keys = { refresh: "300ms", canary: "500ms" };
const propagationMs = 3000;

/** What every lab gives: further instances, a second node, memory and logs. */
function commonTarget(lab: Lab): Target {
  const [one, two] = lab.shims;
  assert.ok(one !== undefined && two !== undefined);
  return {
    socket: one.socket,
    secondSocket: two.socket,
    propagationMs,
    launch: (socket, { unreachable = false, umask, takeover = false } = {}) => {
      const argv = [
        process.execPath,
        join(root, "shim", "src", "main.ts"),
        "--config",
        one.config,
        "--socket",
        socket,
        "--health-port",
        "0",
      ];
      return Promise.resolve(
        startInstance(
          [...argv, ...(unreachable ? ["--gateway", "https://127.0.0.1:1"] : []), ...(takeover ? ["--takeover"] : [])],
          umask,
        ),
      );
    },
    logs: () =>
      Promise.resolve(
        [
          ...lab.shims.map(({ proc }) => proc.log),
          ...lab.gateways.map(({ proc }) => proc.log),
          ...lab.gateways.map(({ audit }) => audit),
        ]
          .map((file) => readFileSync(file, "utf8"))
          .join("\n"),
      ),
    rss: () => Promise.resolve(rssOf(one.proc.pid)),
  };
}

type World = { readonly lab: Lab; readonly target: Target; close(): Promise<void> };

async function onVault(dir: string): Promise<World> {
  let proxy: Proxy | undefined;
  const vaultAddresses = async (addr: string): Promise<readonly string[]> => {
    proxy = await startFaultyVault(addr);
    return [proxy.url];
  };
  const lab = await startLab({ dir, shims: 2, gateways: 2, gatewayExtra: { keys }, vaultAddresses });
  assert.ok(proxy !== undefined && lab.vault !== undefined);
  const { vault } = lab;
  const faulty = proxy;
  const set = (fault: Fault) => (): Promise<void> => faulty.set(fault);
  const key = "transit/keys/cluster-1";
  const target: Target = {
    ...commonTarget(lab),
    rotate: async () => {
      await vault.call("POST", `${key}/rotate`);
    },
    recreate: async () => {
      await vault.call("POST", `${key}/config`, { deletion_allowed: true });
      await vault.call("DELETE", key);
      await vault.call("POST", key, { type: "aes256-gcm96" });
    },
    backend: {
      down: set("refuse"),
      up: set("none"),
      hang: set("hang"),
      forbidDecrypt: set("forbid-decrypt"),
      allowDecrypt: set("none"),
      answer: (fault) => faulty.set(fault as Fault),
      calls: () => Promise.resolve(faulty.calls()),
      faults: {
        // To an Encrypt no word about the caller, who chooses nothing of what Vault refuses.
        400: [3, 9],
        403: [7],
        404: [5],
        412: [14],
        429: [8],
        500: [14],
        502: [14],
        503: [14],
        sealed: [14],
        refuse: [14],
        garbage: [14],
        hang: [4, 14],
      },
    },
  };
  return { lab, target, close: () => faulty.close() };
}

async function onEmbedded(dir: string): Promise<World> {
  // The embedded backend is a file: what can fail on the way to the key is the way to the gateway,
  // and the file.
  const gateways: Partial<Record<"port", number>> = {};
  const proxy = await startFaultyTcp(() => gateways.port ?? 0);
  const options: LabOptions = {
    dir,
    backend: "embedded",
    shims: 2,
    gatewayExtra: { keys },
    shimExtra: { gateways: [proxy.url] },
  };
  const starting = startLab({
    ...options,
    redis: false,
    onGateways: ([first]) => (gateways.port = Number(new URL(first?.url ?? "").port)),
  });
  const lab = await starting;
  const file = join(dir, "keys.json");
  type Keys = Record<string, { minDecryption: number } | undefined>;
  /** Writes the keys as somebody does who has the file in an editor. */
  const edit = async (change: (stored: Keys) => void): Promise<void> => {
    const stored: Keys = structuredClone(await createKeyJournal(file).read());
    change(stored);
    writeFileSync(file, JSON.stringify({ format: "claviger-keys-1", keys: stored }));
  };
  const setMinDecryption = (version: number) => async (): Promise<void> =>
    await edit((stored) => {
      const key = stored["transit/cluster-1"];
      assert.ok(key !== undefined);
      key.minDecryption = version;
    });
  let good = "";
  const up = async (): Promise<void> => {
    if (good !== "") writeFileSync(file, good);
    good = "";
    await proxy.set("none");
  };
  const target: Target = {
    ...commonTarget(lab),
    rotate: async () => {
      const { status, err } = await claviger(["key", "rotate", "cluster-1", "--lab", lab.file]);
      assert.equal(status, 0, err);
    },
    recreate: () =>
      edit((stored) => {
        delete stored["transit/cluster-1"];
      }),
    backend: {
      down: () => proxy.set("refuse"),
      up,
      hang: () => proxy.set("hang"),
      forbidDecrypt: setMinDecryption(1_000_000),
      allowDecrypt: setMinDecryption(1),
      answer: async (fault) => {
        if (fault !== "damaged file") return await proxy.set(fault as Fault);
        good = readFileSync(file, "utf8");
        writeFileSync(file, "{");
      },
      calls: async () => {
        const page = await (await request(lab.gateways[0]?.metrics ?? "")).body.text();
        return [...page.matchAll(/^claviger_gateway_backend_calls_total\{.*\} (\d+)$/gm)].reduce(
          (sum, [, count]) => sum + Number(count),
          0,
        );
      },
      faults: { refuse: [14], garbage: [14], hang: [4, 14], "damaged file": [14] },
    },
  };
  return { lab, target, close: () => proxy.close() };
}

for (const [name, start] of [
  ["vault", onVault],
  ["embedded", onEmbedded],
] as const) {
  suite(`the forty checks on our socket, ${name} backend`, () => {
    // Short: a socket path has 107 bytes.
    const dir = mkdtempSync("/tmp/kms-");
    let world: World;
    before(async () => {
      world = await start(join(dir, "lab"));
    });
    after(async () => {
      await world.lab.stop();
      await world.close();
      rmSync(dir, { recursive: true, force: true });
    });
    for (const check of allChecks) {
      test(`${check.id}. ${check.title}`, async () => {
        const [result] = await runChecks(
          [check],
          world.target,
          (id) => mkdtempSync(join(dir, `${id}-`)),
          () => {},
        );
        assert.equal(result?.result, "pass", result?.evidence);
      });
    }
  });
}
