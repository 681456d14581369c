// The contract of registries, kept by documents in KV version 2 of a real OpenBao.
import { registryContract } from "../../contracts/registry.ts";
import { documentsWorld } from "../../unit/gateway/core/registry/documents-world.ts";
import { startKv } from "./kv.ts";

registryContract("a real OpenBao", async () => {
  const { documents, stop } = await startKv();
  return documentsWorld(documents, stop);
});
