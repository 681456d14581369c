// The contract of the Documents port, kept by the vault backend and KV version 2 of a real OpenBao.
import { documentsContract } from "../../contracts/documents.ts";
import { startKv } from "./kv.ts";

documentsContract("a real OpenBao", async () => {
  const { bao, documents, stop } = await startKv();
  return {
    documents,
    async remove({ mount, path }) {
      await bao.call("DELETE", `${mount}/data/${path}`);
    },
    async goAway() {
      await bao.call("PUT", "sys/seal");
    },
    comeBack: () => bao.unseal(),
    stop,
  };
});
