// How far a cluster's keys have advanced: what lets a shim tell a gateway that is behind from one
// that is ahead. A key_id is a hash and has no order; this has. The order needs no clock: registry
// generation, then versions. The creation time is there for 0.1.0, whose order it was in.
// (docs/architecture.md #rotation.)
import { headers } from "./protocol.ts";

/**
 * Registry generation, creation time of the newest promoted version (Unix seconds; not compared),
 * sum of promoted versions.
 */
export type Epoch = readonly [generation: number, createdAt: number, versions: number];

const form = /^(\d{1,15})\.(\d{1,15})\.(\d{1,15})$/;

/** Text for the `claviger-epoch` header. */
export function formatEpoch(epoch: Epoch): string {
  return epoch.join(".");
}

/**
 * The epoch in a header, or undefined when there is none or it is not one that formatEpoch writes.
 */
export function parseEpoch(text: unknown): Epoch | undefined {
  const match = typeof text === "string" ? form.exec(text) : null;
  if (match === null) return undefined;
  const epoch = [Number(match[1]), Number(match[2]), Number(match[3])] as const;
  return formatEpoch(epoch) === text ? epoch : undefined;
}

/**
 * An epoch as it travels: its text, and the HMAC of it that only gateways can make (base64url, 43
 * characters). A shim passes both on as they came.
 */
export type EpochClaim = { readonly text: string; readonly mac?: string };

const macForm = /^[A-Za-z0-9_-]{43}$/;

/** What the headers of a request or a reply say; undefined when they name no epoch. */
export function readEpochClaim(given: Readonly<Record<string, string | string[] | undefined>>): EpochClaim | undefined {
  const [text, mac] = [given[headers.epoch], given[headers.epochMac]];
  if (typeof text !== "string" || parseEpoch(text) === undefined) return undefined;
  return typeof mac === "string" && macForm.test(mac) ? { text, mac } : { text };
}

/** The headers that say it. */
export function epochHeaders(claim: EpochClaim | undefined): Readonly<Record<string, string>> {
  if (claim === undefined) return {};
  return { [headers.epoch]: claim.text, ...(claim.mac !== undefined && { [headers.epochMac]: claim.mac }) };
}

/** Below zero when a is older than b, zero when they are the same, above zero when a is newer. */
export function compareEpochs(a: Epoch, b: Epoch): number {
  return a[0] - b[0] || a[2] - b[2];
}

/** How far an epoch may be ahead of the one seen before, in generations or in versions. */
const maxStep = 100;

/**
 * Can `next` have come after `seen`? A sender gone bad could otherwise name an epoch that no honest
 * one ever reaches. With a raised generation the versions may be any: that is how one is healed.
 */
export function isPlausibleAfter(next: Epoch, seen: Epoch): boolean {
  const generations = next[0] - seen[0];
  return generations === 0 ? next[2] - seen[2] <= maxStep : generations <= maxStep;
}
