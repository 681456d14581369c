// What is known of nodes: who was seen last with which certificate, and what its shim says of itself.
// Kept in Redis, so it may be lost: it comes back with each node's next Status. Whoever can write to
// Redis can remove it or put an older one of the same node back, and make nothing up.
// (docs/architecture.md #fleet-view.)
import { type Clock, systemClock } from "@claviger/proto/runtime/clock.ts";
import { type ClusterUid, type NodeName, nodeName } from "@claviger/proto/wire/names.ts";
import { formatShimReport, parseShimReport, type ShimReport } from "@claviger/proto/wire/shim-report.ts";
import type { RedisStore } from "./client.ts";
import { signValue, verifyValue } from "./signed-value.ts";

/** A node that asked for a Status, and may. */
export type SeenNode = {
  readonly cluster: ClusterUid;
  readonly node: NodeName;
  /** Of the certificate that it came with; Unix milliseconds. */
  readonly certificate: { readonly serial: string; readonly notBefore: number; readonly notAfter: number };
  /** The `claviger-shim` header, as it came. */
  readonly header: string | readonly string[] | undefined;
};

export type NodeReport = Omit<SeenNode, "cluster" | "header"> & {
  /** Unix milliseconds, by the gateway's clock. */
  readonly at: number;
  /** Which gateway saw it. */
  readonly gateway: string;
  /** Undefined for a shim of 0.1.0, and for one whose word of itself could not be read. */
  readonly shim: ShimReport | undefined;
};

export interface NodeReports {
  /** Costs the caller next to nothing: it is written later, with others, or not at all. */
  seen(node: SeenNode): void;
  close(): void;
}

/** A node of which nothing has changed is written again after this long. */
const againMs = 30_000;
/** What is written is gathered for so long. */
const gatherMs = 500;
/** Nodes that are written together. */
const most = 2000;
/** A cluster of which no node was seen for so long is forgotten, and so is a node of one. */
const keepMs = 30 * 24 * 3600_000;
/** Nodes of a cluster; those that were not seen for longest are removed beyond it. */
const maxOfCluster = 1000;
/** One write to a cluster in so many looks for what is to be removed. */
const pruneOneIn = 200;

/** As it stands in Redis. Later releases may add to it. */
type StoredReport = {
  readonly at: number;
  readonly gateway: string;
  readonly serial: string;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly shim?: string;
};

type Pending = StoredReport & { readonly node: NodeName };
/** All that is kept of a node between two writes. Small integers: a number beyond 31 bits is an object. */
type Known = { writtenAt: number; print: number };

function nameOf(cluster: ClusterUid): string {
  return `nodes:${cluster}`;
}

/** A number that is another one, but for one time in four thousand million, where the text is. */
function printOf(text: string): number {
  let print = 0;
  for (let i = 0; i < text.length; i++) print = Math.imul(print ^ text.charCodeAt(i), 0x01000193);
  return print | 0;
}

/**
 * @param secret as for the shared key cache; while it is not known nothing is written
 * @param gateway the name of this gateway
 * @param onMalformed called for each header that cannot be read
 * @param now Unix milliseconds
 * @param maxKnown nodes that are kept in memory; beyond it the oldest is written once more than it need be
 */
export function createNodeReports({
  redis,
  secret,
  gateway,
  onMalformed = () => {},
  now = Date.now,
  clock = systemClock,
  random = Math.random,
  maxKnown = 50_000,
}: {
  readonly redis: Pick<RedisStore, "putAll" | "remove" | "all">;
  readonly secret: () => Uint8Array | undefined;
  readonly gateway: () => string;
  readonly onMalformed?: () => void;
  readonly now?: () => number;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly maxKnown?: number;
}): NodeReports {
  const known = new Map<string, Known>();
  let pending = new Map<ClusterUid, Map<NodeName, Pending>>();
  let count = 0;
  let timer: NodeJS.Timeout | undefined;
  const began = clock.now();
  const ticks = (): number => Math.floor((clock.now() - began) / 1000);

  const prune = async (key: Uint8Array, cluster: ClusterUid): Promise<void> => {
    const name = nameOf(cluster);
    const all = Object.entries(await redis.all(name)).map(([field, value]) => ({
      field,
      at: readReport(key, cluster, field, value)?.at ?? 0,
    }));
    const kept = all.filter(({ at }) => at > now() - keepMs).toSorted((a, b) => b.at - a.at);
    const keep = new Set(kept.slice(0, maxOfCluster).map(({ field }) => field));
    const rest = all.flatMap(({ field }) => (keep.has(field) ? [] : [field]));
    if (rest.length > 0) await redis.remove(name, rest);
  };

  const write = async (key: Uint8Array, cluster: ClusterUid, nodes: Iterable<Pending>): Promise<void> => {
    const name = nameOf(cluster);
    const fields = [...nodes].map(({ node, ...stored }) => [
      node,
      signValue(key, `${name}/${node}`, JSON.stringify(stored satisfies StoredReport)),
    ]);
    await redis.putAll(name, Object.fromEntries(fields) as Readonly<Record<string, string>>, keepMs);
    if (random() * pruneOneIn < 1) await prune(key, cluster);
  };

  const flush = (): void => {
    timer = undefined;
    const key = secret();
    const batch = pending;
    pending = new Map();
    count = 0;
    for (const [cluster, nodes] of batch) {
      const lost = (): void => {
        // Who goes on is written again at once.
        for (const node of nodes.keys()) known.delete(`${cluster}/${node}`);
      };
      if (key === undefined) lost();
      else write(key, cluster, nodes.values()).catch(lost);
    }
  };

  return {
    seen({ cluster, node, certificate: { serial, notBefore, notAfter }, header }) {
      const shim = header === undefined ? undefined : parseShimReport(header);
      if (header !== undefined && shim === undefined) onMalformed();
      const id = `${cluster}/${node}`;
      const print = printOf(`${serial} ${shim?.version} ${shim?.phase} ${shim?.keyId} ${shim?.config}`);
      const before = known.get(id);
      if (before?.print === print && ticks() - before.writtenAt < againMs / 1000) return;
      // What waits already is replaced; what is too much is written at its next Status.
      if (count >= most && pending.get(cluster)?.has(node) !== true) return;
      known.delete(id);
      known.set(id, { writtenAt: ticks(), print });
      const [oldest] = known.keys();
      if (known.size > maxKnown && oldest !== undefined) known.delete(oldest);
      const nodes = pending.get(cluster) ?? new Map<NodeName, Pending>();
      if (!nodes.has(node)) count += 1;
      pending.set(cluster, nodes);
      const text = shim === undefined ? {} : { shim: formatShimReport(shim) };
      nodes.set(node, { node, at: now(), gateway: gateway(), serial, notBefore, notAfter, ...text });
      if (timer !== undefined) return;
      timer = clock.setTimeout(flush, gatherMs);
      timer.unref();
    },
    close() {
      if (timer !== undefined) clock.clearTimeout(timer);
      timer = undefined;
    },
  };
}

/** Where there is no Redis. */
export const noNodeReports: NodeReports = { seen: () => {}, close: () => {} };

function readReport(key: Uint8Array, cluster: ClusterUid, field: string, value: string): NodeReport | undefined {
  const text = verifyValue(key, `${nameOf(cluster)}/${field}`, value);
  if (text === undefined || !nodeName.is(field)) return undefined;
  // Behind a good HMAC the text is one that a gateway wrote.
  const { at, gateway, serial, notBefore, notAfter, shim } = JSON.parse(text) as StoredReport;
  return { node: field, at, gateway, certificate: { serial, notBefore, notAfter }, shim: parseShimReport(shim) };
}

/**
 * All that is known of a cluster's nodes, of every gateway.
 * @returns the reports, and how many values stand there that no gateway has signed for that place
 * @throws Error when Redis does not answer
 */
export async function readNodeReports(
  redis: Pick<RedisStore, "all">,
  secret: Uint8Array,
  cluster: ClusterUid,
): Promise<{ readonly reports: readonly NodeReport[]; readonly refused: number }> {
  const fields = Object.entries(await redis.all(nameOf(cluster)));
  const reports = fields.flatMap(([field, value]) => readReport(secret, cluster, field, value) ?? []);
  return { reports, refused: fields.length - reports.length };
}
