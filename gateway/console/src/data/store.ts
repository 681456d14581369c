// Everything that pages show, each read while a page shows it.
import { type ReadonlySignal, signal } from "@preact/signals";
import type { Api } from "../api/client.ts";
import type { Access } from "../api/access.ts";
import { ApiError } from "../api/failure.ts";
import type {
  Approval,
  AuditState,
  Cluster,
  ClusterKeys,
  FleetEvent,
  FleetStatus,
  Node,
  Reply,
  Who,
} from "../api/json.ts";
import type { Clock } from "./clock.ts";
import { afterEvent, type Fleet, loadFleet } from "./fleet.ts";
import { createLive, type LiveState } from "./live.ts";
import { createResource, type Resource, type ResourceSettings, type Surroundings } from "./resource.ts";

export type HistoryOf = { readonly cluster?: string; readonly gateway?: string; readonly period: "hour" | "month" };
export type Nodes = Reply<"listNodes">;

export type Store = {
  readonly api: Api;
  readonly clock: Clock;
  readonly live: ReadonlySignal<LiveState>;
  /** What has happened since the page was opened, newest first. */
  readonly events: ReadonlySignal<readonly FleetEvent[]>;
  /** What a screen reader is told. */
  readonly said: ReadonlySignal<string>;
  readonly say: (text: string) => void;
  readonly who: Resource<Who>;
  readonly access: Resource<Access>;
  readonly status: Resource<FleetStatus>;
  readonly fleet: Resource<Fleet>;
  readonly gateways: Resource<Reply<"listGateways">>;
  readonly approvals: Resource<readonly Approval[]>;
  readonly audit: Resource<AuditState>;
  cluster(name: string): Resource<Cluster>;
  nodes(cluster: string): Resource<Nodes>;
  node(cluster: string, node: string): Resource<Node>;
  keys(cluster: string): Resource<ClusterKeys>;
  timeline(cluster: string): Resource<Reply<"getKeyTimeline">>;
  history(of: HistoryOf): Resource<Reply<"getHistory">>;
  /** Reads again what a change concerns that was made here. */
  changed(): void;
  run(signal: AbortSignal): Promise<void>;
};

const mostEvents = 200;
const mostNodes = 1000;

function ofApproval({ kind = "" }: FleetEvent): boolean {
  return kind.startsWith("approval-");
}

/** @throws ApiError where the answer lacks what was asked for */
function found<T>(value: T | undefined): T {
  if (value === undefined) throw new ApiError("unknown", "the answer lacks what was asked for");
  return value;
}

export function createStore({
  api,
  clock,
  ...surroundings
}: { readonly api: Api; readonly clock: Clock } & Surroundings): Store {
  const all: Resource<unknown>[] = [];
  const events = signal<readonly FleetEvent[]>([]);
  const said = signal("");
  const live = createLive({
    api,
    ...surroundings,
    onEvent(event) {
      // It says that there is something to ask for, and nothing by itself.
      if (event.kind !== "attention-changed") events.value = [event, ...events.peek()].slice(0, mostEvents);
      fleet.patch((value) => afterEvent(value, event));
      const { cluster: name = "", record } = event;
      if (record !== undefined) clusters.get(name)?.patch(() => record);
      hearAll(event);
    },
  });
  const hearAll = (event: FleetEvent): void => {
    for (const resource of all) resource.hear(event);
  };
  // What was not told in between is read anew.
  live.state.subscribe(({ kind }) => {
    if (kind === "live") hearAll({ kind: "list-again" });
  });
  const isLive = (): boolean => live.state.peek().kind === "live";
  const make = <T>(settings: ResourceSettings<T>): Resource<T> => {
    const resource = createResource(settings, surroundings);
    all.push(resource);
    return resource;
  };
  /** One resource for each key, made when it is first asked for. */
  const each = <T>(known: Map<string, Resource<T>>, key: string, settings: () => ResourceSettings<T>) => {
    const resource = known.get(key) ?? make(settings());
    known.set(key, resource);
    return resource;
  };
  /** How often, where events come and where they do not. */
  const every = (liveMs: number, pollingMs: number) => (): number => (isLive() ? liveMs : pollingMs);
  const ofCluster = (name: string) => (event: FleetEvent) => (event.cluster ?? "").split(",").includes(name);

  const clusters = new Map<string, Resource<Cluster>>();
  const nodes = new Map<string, Resource<Nodes>>();
  const single = new Map<string, Resource<Node>>();
  const keys = new Map<string, Resource<ClusterKeys>>();
  const timelines = new Map<string, Resource<Reply<"getKeyTimeline">>>();
  const histories = new Map<string, Resource<Reply<"getHistory">>>();
  const fleet = make<Fleet>({
    load: (publish) => loadFleet(api, publish),
    everyMs: every(15_000, 5000),
    concerns: ({ kind }) => kind === "cluster-added",
  });
  return {
    api,
    clock,
    live: live.state,
    events,
    said,
    say: (text) => {
      said.value = text;
    },
    fleet,
    access: make({ load: () => api.access(), everyMs: () => 300_000 }),
    who: make({ load: () => api.call("whoAmI", {}), everyMs: () => 60_000 }),
    status: make({
      load: () => api.call("getFleetStatus", { attentionSize: 200 }),
      // The header wants it on every page, and each reading is an audit record: an event says when there is news.
      everyMs: every(30_000, 2000),
      concerns: ({ kind = "" }) => kind === "attention-changed" || kind.startsWith("cluster-"),
    }),
    gateways: make({ load: () => api.call("listGateways", {}), everyMs: () => 2000 }),
    approvals: make({
      load: async () => (await api.call("listApprovals", { all: true })).approvals ?? [],
      everyMs: every(20_000, 3000),
      concerns: ofApproval,
    }),
    audit: make({ load: () => api.call("getAuditState", {}), everyMs: () => 10_000 }),
    cluster: (name) =>
      each(clusters, name, () => ({
        load: async () => found((await api.call("getCluster", { name })).cluster),
        everyMs: every(30_000, 2000),
        concerns: ofCluster(name),
      })),
    nodes: (cluster) =>
      each(nodes, cluster, () => ({
        load: () => api.call("listNodes", { cluster, pageSize: mostNodes }),
        everyMs: () => 3000,
        concerns: ofCluster(cluster),
      })),
    node: (cluster, node) =>
      each(single, `${cluster}/${node}`, () => ({
        load: async () => found((await api.call("getNode", { cluster, node })).node),
        everyMs: () => 3000,
        concerns: ofCluster(cluster),
      })),
    keys: (cluster) =>
      each(keys, cluster, () => ({
        load: async () => found((await api.call("getClusterKeys", { name: cluster })).keys),
        everyMs: () => 10_000,
        concerns: ofCluster(cluster),
      })),
    timeline: (cluster) =>
      each(timelines, cluster, () => ({
        load: () => api.call("getKeyTimeline", { cluster }),
        everyMs: () => 10_000,
        concerns: ofCluster(cluster),
      })),
    history: (of) =>
      each(histories, JSON.stringify(of), () => ({
        load: () => api.call("getHistory", of),
        everyMs: () => (of.period === "hour" ? 10_000 : 300_000),
      })),
    changed: () => hearAll({ kind: "list-again" }),
    run: (signal) => live.run(signal),
  };
}
