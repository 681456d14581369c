// What gateways know of nodes and of themselves, read from Redis. Redis may be away, empty or written to by
// others: what is missing then is said. (docs/architecture.md #fleet-view.)
import type { ClusterUid } from "@claviger/proto/wire/names.ts";
import { isWrongType, type RedisStore } from "@claviger/gateway-core/src/redis/client.ts";
import {
  type GatewayReport,
  readGatewayReports,
  readReportsSince,
} from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import { type NodeReport, readNodeReports } from "@claviger/gateway-core/src/redis/node-reports.ts";

/**
 * Why less is known than could be. `none`: fleet.yaml names no Redis; `away`: it cannot be read now; `young`:
 * it was emptied, and nodes that have not asked since are missing; `refused`: somebody else has written to it.
 */
export type Incomplete = { readonly kind: "none" | "away" | "young" | "refused"; readonly text: string };

export type SeenNodes = {
  readonly nodes: ReadonlyMap<ClusterUid, readonly NodeReport[]>;
  readonly incomplete: readonly Incomplete[];
};
export type SeenGateways = {
  readonly gateways: readonly GatewayReport[];
  /** The names of those that have said nothing new while this service looked, whatever their clocks say. */
  readonly silent: ReadonlySet<string>;
  readonly incomplete: readonly Incomplete[];
};

/** Neither rejects. */
export interface Sightings {
  nodes(clusters: readonly ClusterUid[]): Promise<SeenNodes>;
  gateways(): Promise<SeenGateways>;
}

/** Clusters that are read at once. */
const together = 500;
/** A gateway reports itself every second. */
const silentMs = 2000;
/** kube-apiserver asks every minute, and gateways write within half a minute. */
const fillMs = 90_000;

const notConfigured: Incomplete = {
  kind: "none",
  text: "what gateways know of nodes is not read: fleet.yaml names no Redis; give it redis and integrity as gateways have them",
};

/** Where fleet.yaml names no Redis. */
export const noSightings: Sightings = {
  nodes: () => Promise.resolve({ nodes: new Map(), incomplete: [notConfigured] }),
  gateways: () => Promise.resolve({ gateways: [], silent: new Set(), incomplete: [notConfigured] }),
};

function away(why: string): Incomplete {
  return { kind: "away", text: `what gateways know of nodes cannot be read: ${why}` };
}

/** As readNodeReports; what is no hash at all is one value that no gateway has signed. */
async function readCluster(redis: Pick<RedisStore, "all">, key: Uint8Array, cluster: ClusterUid) {
  try {
    return await readNodeReports(redis, key, cluster);
  } catch (error) {
    if (isWrongType(error)) return { reports: [], refused: 1 };
    throw error;
  }
}

/** Follows what gateways say over several looks: one whose last word stays the same is silent. */
function createListener(ticks: () => number): (reports: readonly GatewayReport[]) => ReadonlySet<string> {
  let heard = new Map<string, { readonly at: number; readonly since: number }>();
  return (reports) => {
    const tick = ticks();
    heard = new Map(
      reports.map(({ name, at }) => {
        const before = heard.get(name);
        return [name, before?.at === at ? before : { at, since: tick }] as const;
      }),
    );
    return new Set([...heard].flatMap(([name, { since }]) => (tick - since >= silentMs ? [name] : [])));
  };
}

/**
 * @param secret the integrity key; undefined while it is not known
 * @param now Unix milliseconds
 * @param ticks monotonic milliseconds
 */
export function createSightings({
  redis,
  secret,
  now = Date.now,
  ticks = () => performance.now(),
}: {
  readonly redis: Pick<RedisStore, "all" | "get" | "health">;
  readonly secret: () => Uint8Array | undefined;
  readonly now?: () => number;
  readonly ticks?: () => number;
}): Sightings {
  const listen = createListener(ticks);
  /** One reading of a whole fleet after the other: Redis has others to answer. */
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(read: () => Promise<T>): Promise<T> => {
    const turn = last.then(read);
    last = turn.catch(() => undefined);
    return turn;
  };

  const youth = async (key: Uint8Array): Promise<readonly Incomplete[]> => {
    const since = await readReportsSince(redis, key);
    const age = now() - (since ?? now());
    if (since !== undefined && age >= fillMs) return [];
    const text = `Redis has held what gateways know of nodes for ${Math.max(0, Math.floor(age / 1000))} s; nodes that have not asked for a Status since are not known yet`;
    return [{ kind: "young", text }];
  };
  const withKey = async <T extends { readonly incomplete: readonly Incomplete[] }>(
    nothing: Omit<T, "incomplete">,
    read: (key: Uint8Array) => Promise<T>,
  ): Promise<T | (Omit<T, "incomplete"> & { readonly incomplete: readonly Incomplete[] })> => {
    const key = secret();
    if (key === undefined)
      return { ...nothing, incomplete: [away("the integrity key is not known yet; the log says why")] };
    try {
      return await read(key);
    } catch (error) {
      const health = redis.health();
      const why = isWrongType(error)
        ? "something else stands where gateways report themselves (gateways, nodes-since): delete it"
        : health === "ok"
          ? "Redis did not answer"
          : `Redis is away (${health})`;
      return { ...nothing, incomplete: [away(why)] };
    }
  };

  return {
    nodes: (clusters) =>
      inTurn(() =>
        withKey<SeenNodes>({ nodes: new Map() }, async (key) => {
          const nodes = new Map<ClusterUid, readonly NodeReport[]>();
          const foreign: ClusterUid[] = [];
          let count = 0;
          for (let i = 0; i < clusters.length; i += together)
            await Promise.all(
              clusters.slice(i, i + together).map(async (uid) => {
                const { reports, refused } = await readCluster(redis, key, uid);
                nodes.set(uid, reports);
                if (refused > 0) foreign.push(uid);
                count += refused;
              }),
            );
          const text = `${count} values in Redis that say something of nodes are signed by no gateway, and are left out: somebody else writes to it (below nodes:${foreign[0] ?? ""})`;
          return {
            nodes,
            incomplete: [...(await youth(key)), ...(count === 0 ? [] : [{ kind: "refused", text } as const])],
          };
        }),
      ),
    gateways: () =>
      withKey<SeenGateways>({ gateways: [], silent: new Set() }, async (key) => {
        const gateways = await readGatewayReports(redis, key);
        return { gateways, silent: listen(gateways), incomplete: await youth(key) };
      }),
  };
}
