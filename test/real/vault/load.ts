// A steady load at the level of backend and dispatcher.
import { createDispatcher } from "@claviger/gateway-server/src/backend/dispatch.ts";
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";
import { type Load, startLoad } from "../../lab/load.ts";
import { aad, refOf, soon } from "../backend/world.ts";

const cluster = clusterName.parse("prod");
const version = 1;

export function startBackendLoad(
  backend: OpenBackend,
  { perSecond = 200, deadlineMs = 3000, key = refOf("one") } = {},
): Load {
  const dispatcher = createDispatcher({ backend });
  return startLoad({
    perSecond,
    reasonOf: (error) => toKmsError(error).reason,
    async encrypt(plaintext) {
      const wrapped = await dispatcher.wrap(
        cluster,
        key,
        { plaintext, associatedData: aad, version },
        soon(deadlineMs),
      );
      if (wrapped.version !== version) throw new KmsError("backend_protocol_error");
      return wrapped.ciphertext;
    },
    decrypt: async (ciphertext) =>
      (await dispatcher.unwrap(cluster, key, { ciphertext, associatedData: aad, version }, soon(deadlineMs))).plaintext,
  });
}
