// How far a cluster's keys have advanced: what lets a shim tell a gateway that is behind from one
// that is ahead. A key_id is a hash and has no order; this has. (docs/architecture.md #rotation.)

/**
 * Registry generation, then creation time of the newest promoted version (Unix seconds), then the
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

/** Below zero when a is older than b, zero when they are the same, above zero when a is newer. */
export function compareEpochs(a: Epoch, b: Epoch): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}
