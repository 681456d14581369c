// The contract of the Backend port, kept by every adapter: embedded, and vault on a real OpenBao.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { mountPath } from "@claviger/proto/wire/names.ts";
import { aad, backendContract, hasReason, refOf, signal } from "../../contracts/backend.ts";
import { type OpenBao, setUpTransit, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { silent } from "../../unit/gateway/fakes.ts";

backendContract(
  "embedded",
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "claviger-"));
    const backend = await openBackend({
      name: "main",
      config: { kind: "embedded", file: join(dir, "keys.json") },
      log: silent,
    });
    return {
      backend,
      async stop() {
        await backend.close();
        await rm(dir, { recursive: true });
      },
    };
  },
  { endsEarly: false },
);

let bao: OpenBao;
let processes: ProcessGroup;

backendContract(
  "vault",
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    bao = await startOpenBao(processes, dir);
    const files = (await setUpTransit(bao, ["one", "two"], ["gw"], dir)).get("gw");
    assert.ok(files !== undefined);
    const config = {
      kind: "vault",
      addresses: ["http://127.0.0.1:1", bao.addr] as string[],
      auth: { kind: "approle", mount: mountPath.parse("approle"), wrapped: false, ...files },
    } as const;
    const backend = await openBackend({ name: "main", config, log: silent });
    return {
      backend,
      async stop() {
        await backend.close();
        await processes.stopAll();
        await rm(dir, { recursive: true });
      },
    };
  },
  { endsEarly: true },
);

test("the gateway's token may do what it needs and nothing more", async () => {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const own = createProcessGroup(dir);
  try {
    const vault = await startOpenBao(own, dir);
    const files = (await setUpTransit(vault, ["one"], ["gw"], dir)).get("gw");
    assert.ok(files !== undefined);
    const config = {
      kind: "vault",
      addresses: [vault.addr] as string[],
      auth: { kind: "approle", mount: mountPath.parse("approle"), wrapped: false, ...files },
    } as const;
    const backend = await openBackend({ name: "main", config, log: silent });
    await backend.describe(refOf("one"), signal());
    const canary = randomBytes(32);
    for (const operation of [
      () => backend.describe(refOf("other"), signal()),
      () => backend.wrap(refOf("other"), [{ plaintext: canary, associatedData: aad, version: 1 }], signal()),
      () => backend.rotate(refOf("claviger-integrity"), signal()),
    ]) {
      const error: unknown = await operation().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      assert.ok(hasReason("backend_denied")(error), inspect(error));
      const text = inspect(error, { depth: 20 }) + JSON.stringify(error);
      assert.ok(!text.includes(canary.toString("base64")) && !/\bhvs\.|\bs\.[A-Za-z0-9]{24}\b/.test(text), text);
    }
    await backend.close();
  } finally {
    await own.stopAll();
    await rm(dir, { recursive: true });
  }
});
