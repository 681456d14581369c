// The contract of the Documents port, kept by the vault backend and KV version 2 of a real OpenBao.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { documentsContract } from "../../contracts/documents.ts";
import { startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup } from "../../lab/process-group.ts";
import { silent } from "../../unit/gateway/fakes.ts";

documentsContract("a real OpenBao", async () => {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const processes = createProcessGroup(dir);
  const bao = await startOpenBao(processes, dir);
  await bao.call("POST", "sys/mounts/documents", { type: "kv", options: { version: "2" } });
  const backend = await openBackend({
    name: "main",
    config: { kind: "vault", addresses: [bao.addr], auth: { kind: "token-file", file: bao.tokenFile } },
    log: silent,
  });
  const { documents } = backend;
  assert.ok(documents !== undefined);
  return {
    documents,
    async remove({ mount, path }) {
      await bao.call("DELETE", `${mount}/data/${path}`);
    },
    async goAway() {
      await bao.call("PUT", "sys/seal");
    },
    comeBack: () => bao.unseal(),
    async stop() {
      await backend.close();
      await processes.stopAll();
      await rm(dir, { recursive: true, force: true });
    },
  };
});
