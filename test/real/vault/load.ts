// A steady load at the level of backend and dispatcher.
import { createDispatcher } from "@claviger/gateway/src/backend/dispatch.ts";
import type { OpenBackend } from "@claviger/gateway/src/backend/port.ts";
import { KmsError, toKmsError } from "@claviger/proto/errors.ts";
import { clusterName } from "@claviger/proto/names.ts";
import { type Load, startLoad } from "../../lab/load.ts";
import { aad, refOf, soon } from "../backend/world.ts";

const cluster = clusterName.parse("prod");
const version = 1;

export const startBackendLoad = (backend: OpenBackend, { perSecond = 200, deadlineMs = 3000, key = refOf("one") } = {}): Load => {
  const dispatcher = createDispatcher({ backend });
  return startLoad({
    perSecond,
    reasonOf: (error) => toKmsError(error).reason,
    async encrypt(plaintext) {
      const wrapped = await dispatcher.wrap(cluster, key, { plaintext, associatedData: aad, version }, soon(deadlineMs));
      if (wrapped.version !== version) throw new KmsError("backend_misbehaved");
      return wrapped.ciphertext;
    },
    decrypt: async (ciphertext) =>
      (await dispatcher.unwrap(cluster, key, { ciphertext, associatedData: aad, version }, soon(deadlineMs))).plaintext,
  });
};
