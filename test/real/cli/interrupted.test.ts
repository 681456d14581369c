// An operator's token is in no file of ours, whenever a command ends: not while it waits, not after
// Ctrl-C, not after SIGKILL.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, suite, test } from "node:test";
import { type OpenBao, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";

const main = join(import.meta.dirname, "..", "..", "..", "gateway", "cli", "src", "main.ts");

suite("claviger key rotate --wait that is interrupted", () => {
  let dir: string;
  let processes: ProcessGroup;
  let bao: OpenBao;
  let config: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-interrupted-"));
    processes = createProcessGroup(dir);
    bao = await startOpenBao(processes, dir);
    await bao.call("POST", "sys/mounts/transit", { type: "transit" });
    await bao.call("POST", "transit/keys/prod", {});
    const registry = join(dir, "clusters.yaml");
    writeFileSync(
      registry,
      "clusters:\n  - { name: prod, uid: 01JD9Z6X3QK8V5T7W2M4N6P8RA, state: active, keys: [{ backend: main, mount: transit, key: prod }] }\n",
    );
    config = join(dir, "gateway.yaml");
    writeFileSync(
      config,
      JSON.stringify({
        listen: { address: "127.0.0.1", port: 0 },
        admin: { address: "127.0.0.1", port: 0 },
        tls: { cert: "/nowhere/c", key: "/nowhere/k", clientCa: "/nowhere/ca" },
        trustDomain: "fleet.example",
        registry: { kind: "file", file: registry },
        backends: { main: { kind: "vault", addresses: [bao.addr], auth: { kind: "token-file", file: "/nowhere/t" } } },
        audit: { sinks: [{ kind: "stdout" }] },
      }),
    );
  });
  after(async () => {
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  for (const end of ["SIGINT", "SIGTERM", "SIGKILL"] as const)
    test(`${end}: nothing is left in the temporary directory, nor was anything there`, async () => {
      const temporary = join(dir, end);
      mkdirSync(temporary);
      const child = spawn(process.execPath, [main, "key", "rotate", "prod", "--wait", "--config", config], {
        env: {
          PATH: process.env["PATH"],
          HOME: "/nonexistent",
          TMPDIR: temporary,
          VAULT_TOKEN: readFileSync(bao.tokenFile, "utf8"),
        },
        stdio: ["ignore", "ignore", "pipe"],
      });
      const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once("exit", (_, signal) => resolve(signal)));
      // No gateway runs: it waits until it is ended.
      let said = "";
      for await (const line of createInterface(child.stderr)) {
        said = line;
        break;
      }
      assert.match(said, /^waiting for a gateway to promote version \d+; none encrypts yet/);
      assert.deepEqual(readdirSync(temporary), []);
      child.kill(end);
      assert.equal(await ended, end);
      assert.deepEqual(readdirSync(temporary), []);
    });
});
