// KV version 2 of a real OpenBao, opened as a gateway opens it.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, until } from "../../lab/process-group.ts";
import { silent } from "../../unit/gateway/fakes.ts";

/** Starts it, with a mount `documents`. */
export async function startKv() {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const processes = createProcessGroup(dir);
  const bao = await startOpenBao(processes, dir);
  await bao.call("POST", "sys/mounts/documents", { type: "kv", options: { version: "2" } });
  // It refuses all (400) until it has made its storage one of versions.
  await until("the mount to serve", undefined, () =>
    bao.call("GET", "documents/config").then(
      () => true,
      () => undefined,
    ),
  );
  const backend = await openBackend({
    name: "main",
    config: { kind: "vault", addresses: [bao.addr], auth: { kind: "token-file", file: bao.tokenFile } },
    log: silent,
  });
  return {
    bao,
    documents: backend.documents ?? assert.fail("documents"),
    stop: async (): Promise<void> => {
      await backend.close();
      await processes.stopAll();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
