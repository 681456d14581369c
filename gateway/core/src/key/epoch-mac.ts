// Makes epochs that travel by way of nodes believable: an HMAC under the integrity key, bound to the
// cluster. (docs/architecture.md #rotation.)
import { createHmac, timingSafeEqual } from "node:crypto";
import { type Epoch, type EpochClaim, formatEpoch, parseEpoch } from "@claviger/proto/wire/epoch.ts";
import { integrityKeySource } from "./integrity.ts";
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

function isSame(wanted: string, given: string): boolean {
  const [a, b] = [Buffer.from(wanted), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** @param secret the integrity key; undefined while it is not known, or where none is configured */
export function createEpochMac(secret: () => Uint8Array | undefined = () => undefined): EpochMac {
  const keyOf = integrityKeySource("epoch", secret);
  // A cluster's epoch stays for days, and stands on each of its requests and replies.
  const signed = new Map<string, Required<EpochClaim>>();
  const sign = (uid: string, text: string): EpochClaim => {
    const known = signed.get(uid);
    if (known?.text === text) return known;
    const key = keyOf();
    if (key === undefined) return { text };
    const mac = createHmac("sha256", key)
      .update(lengthPrefixed([uid, text]))
      .digest("base64url");
    return { text, mac };
  };
  return {
    sign(uid, epoch) {
      const claim = sign(uid, formatEpoch(epoch));
      const { text, mac } = claim;
      // Only what a gateway says is kept: a node that names another epoch each time costs itself.
      if (mac !== undefined && signed.get(uid) !== claim) signed.set(uid, { text, mac });
      return claim;
    },
    read(uid, claim) {
      const epoch = parseEpoch(claim?.text);
      if (claim === undefined || epoch === undefined) return undefined;
      const wanted = claim.mac === undefined ? undefined : sign(uid, claim.text).mac;
      return { epoch, isProven: wanted !== undefined && isSame(wanted, claim.mac ?? "") };
    },
  };
}
