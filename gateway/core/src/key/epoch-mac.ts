// Makes epochs that travel by way of nodes believable: an HMAC under the integrity key, bound to the
// cluster. (docs/architecture.md #rotation.)
import { createHmac, timingSafeEqual } from "node:crypto";
import { type Epoch, type EpochClaim, formatEpoch, parseEpoch } from "@claviger/proto/wire/epoch.ts";
import { integrityKeyFor } from "./integrity.ts";
import { lengthPrefixed } from "./key-id.ts";

/** The highest epoch that a shim has seen of its cluster. */
export type SeenEpoch = {
  readonly epoch: Epoch;
  /** Some gateway of this fleet has said so. Else the node may have made it up. */
  readonly isProven: boolean;
};

export interface EpochMac {
  /** @param uid of the cluster whose epoch it is */
  sign(uid: string, epoch: Epoch): EpochClaim;
  /** What a node of this cluster claims to have seen. */
  read(uid: string, claim: EpochClaim | undefined): SeenEpoch | undefined;
}

/** @param secret the integrity key; undefined while it is not known, or where none is configured */
export function createEpochMac(secret: () => Uint8Array | undefined = () => undefined): EpochMac {
  let key: Uint8Array | undefined;
  const macOf = (uid: string, text: string): Buffer | undefined => {
    const integrity = secret();
    if (integrity === undefined) return undefined;
    key ??= integrityKeyFor("epoch", integrity);
    return createHmac("sha256", key)
      .update(lengthPrefixed([uid, text]))
      .digest();
  };
  return {
    sign(uid, epoch) {
      const text = formatEpoch(epoch);
      const mac = macOf(uid, text)?.toString("base64url");
      return mac === undefined ? { text } : { text, mac };
    },
    read(uid, claim) {
      const epoch = parseEpoch(claim?.text);
      if (claim === undefined || epoch === undefined) return undefined;
      const wanted = claim.mac === undefined ? undefined : macOf(uid, claim.text);
      const given = Buffer.from(claim.mac ?? "", "base64url");
      return {
        epoch,
        isProven: wanted !== undefined && given.length === wanted.length && timingSafeEqual(given, wanted),
      };
    },
  };
}
