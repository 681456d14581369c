// What the methods of FleetService do, for a caller who may. Knows neither HTTP nor Connect.
// (docs/architecture.md #control-plane.)
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import * as pb from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { clusterName, type NodeName, nodeName } from "@claviger/proto/wire/names.ts";
import { allow, type NodeTarget, revoke } from "@claviger/gateway-core/src/registry/edit/nodes.ts";
import type { RegistryEditor } from "@claviger/gateway-core/src/registry/edit/editor.ts";
import { type Change, changedFields } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { isSelected } from "@claviger/gateway-core/src/registry/labels.ts";
import { type ClusterRecord, normalSerial } from "@claviger/gateway-core/src/registry/record.ts";
import type { Caller, Need, Operator } from "./caller.ts";
import { checkNeed } from "./caller.ts";
import type { Enrollment } from "./enrollment.ts";
import { findCluster } from "./open-registry.ts";
import { refuse } from "./refusal.ts";

export type MethodName = keyof typeof pb.FleetService.method;

/** What each method asks of its caller. A method without a row does not compile. */
export const needs: Readonly<Record<MethodName, Need>> = {
  whoAmI: "certificate",
  getTrustBundle: "anybody",
  listClusters: "viewer",
  getCluster: "viewer",
  setClusterState: "operator",
  createNodeToken: "operator",
  enrollNode: "anybody",
  renewNode: "node",
  revokeNode: "operator",
  allowNode: "admin",
};

/** What a call was about, for its audit record: filled in by the method as it learns it. */
export type Subject = { target?: string; because?: string };

type Input<M extends MethodName> = MessageInitShape<(typeof pb.FleetService.method)[M]["input"]>;
type Request<M extends MethodName> = Required<Omit<Input<M>, "$typeName" | "$unknown">>;
type Reply<M extends MethodName> = MessageInitShape<(typeof pb.FleetService.method)[M]["output"]>;

/** Each method rejects with a Refusal, or with an error that toRefusal turns into one. */
export type FleetMethods = {
  readonly [M in MethodName]: (request: Request<M>, caller: Caller, subject: Subject) => Promise<Reply<M>>;
};

const maxReason = 256;
const pages = { usual: 100, most: 1000 } as const;
const ttl = { usual: 3600, least: 60, most: 604_800 } as const;

function asOperator(caller: Caller): Operator {
  if (caller.kind !== "operator") throw refuse("permission_denied", "this method is for operators");
  return caller;
}

/** @throws Refusal */
function reasonOf(text: string): string {
  const reason = text.trim();
  if (reason === "" || reason.length > maxReason)
    throw refuse("invalid_argument", `reason: say why, in 1 to ${maxReason} characters; it stands in the audit record`);
  return reason;
}

function nodeOf(text: string): NodeName {
  if (!nodeName.is(text)) throw refuse("invalid_argument", `node: must be ${nodeName.rule}`);
  return text;
}

/** A node, or serial numbers. @throws Refusal */
function targetOf({ node, serials }: { readonly node: string; readonly serials: readonly string[] }): NodeTarget {
  if ((node === "") === (serials.length === 0))
    throw refuse("invalid_argument", "give a node, or serial numbers of certificates: one of the two");
  const wrong = serials.find((serial) => !/^[0-9A-Fa-f:]{1,128}$/.test(serial));
  if (wrong !== undefined) throw refuse("invalid_argument", "serials: must be hexadecimal digits");
  return node === "" ? { serials: serials.map(normalSerial) } : { node: nodeOf(node), serials: [] };
}

function messageOf({ name, uid, state, generation, rotation, keys, labels, nodes }: ClusterRecord): pb.Cluster {
  return create(pb.ClusterSchema, {
    name,
    uid,
    state,
    generation: BigInt(generation),
    rotation,
    keys: keys.map(({ backend, namespace = "", mount, key }) => ({ backend, namespace, mount, key })),
    labels: { ...labels },
    expectedNodes: [...(nodes?.expected ?? [])],
    revokedNodes: [...(nodes?.revoked ?? [])],
    revokedSerials: [...(nodes?.revokedSerials ?? [])],
  });
}

const states: ReadonlySet<string> = new Set(["active", "decrypt-only", "suspended"] satisfies ClusterRecord["state"][]);
function isState(text: string): text is ClusterRecord["state"] {
  return states.has(text);
}

export function createFleetMethods({
  registry,
  enrollment,
  trustBundle,
  caPin,
  gateways,
  uriOf,
}: {
  readonly registry: RegistryEditor;
  readonly enrollment: Enrollment;
  /** PEM. */
  readonly trustBundle: () => string;
  /** Names the certificate of the bundle that this service is verified by. */
  readonly caPin: () => string;
  readonly gateways: readonly string[];
  /** The SPIFFE id of a path. */
  readonly uriOf: (path: string) => string;
}): FleetMethods {
  /** One edit after the other: a file has no check-and-set. */
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(edit: () => Promise<T>): Promise<T> => {
    const turn = last.then(edit, edit);
    last = turn.catch(() => undefined);
    return turn;
  };
  /** What an operator may not see is not there. @throws Refusal */
  const recordFor = async (caller: Caller, name: string, subject: Subject): Promise<ClusterRecord> => {
    const { mayTouch } = asOperator(caller);
    const missing = (): Error =>
      refuse("not_found", `there is no cluster ${JSON.stringify(name.slice(0, 64))}, or it is none of yours`);
    if (!clusterName.is(name)) throw missing();
    subject.target ??= name;
    const record = await findCluster(registry, name);
    if (record === undefined || !mayTouch(record)) throw missing();
    return record;
  };
  const change = async (caller: Caller, name: string, subject: Subject, next: Change): Promise<pb.Cluster> => {
    await recordFor(caller, name, subject);
    return await inTurn(async () => {
      const { earlier } = await registry.change(name, next);
      return messageOf({ ...earlier, ...changedFields(earlier, next) });
    });
  };
  const checked = <M extends MethodName>(method: M, run: FleetMethods[M]): FleetMethods[M] =>
    (async (request, caller, subject) => {
      checkNeed(needs[method], caller);
      return await run(request, caller, subject);
    }) as FleetMethods[M];

  const methods: FleetMethods = {
    whoAmI: (_, caller) => {
      switch (caller.kind) {
        case "operator":
          return Promise.resolve({
            identity: uriOf(`operator/${caller.operator}`),
            role: caller.role,
            clusters: caller.clusters,
          });
        case "node":
          return Promise.resolve({ identity: uriOf(`cluster/${caller.cluster}/node/${caller.node}`) });
        case "anonymous":
          throw refuse("unauthenticated", "this method needs a client certificate");
      }
    },
    getTrustBundle: () => Promise.resolve({ ca: trustBundle() }),
    async listClusters({ pageSize, pageToken, matchLabels }, caller) {
      const { mayTouch } = asOperator(caller);
      if (pageSize > pages.most) throw refuse("invalid_argument", `page_size: must be at most ${pages.most}`);
      const wanted = [...(await registry.all("empty")).values()]
        .filter((record) => record.name > pageToken && mayTouch(record) && isSelected({ matchLabels }, record.labels))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1));
      const page = wanted.slice(0, pageSize === 0 ? pages.usual : pageSize);
      return {
        clusters: page.map(messageOf),
        nextPageToken: page.length < wanted.length ? (page.at(-1)?.name ?? "") : "",
      };
    },
    async getCluster({ name }, caller, subject) {
      return { cluster: messageOf(await recordFor(caller, name, subject)) };
    },
    async setClusterState({ name, state, reason }, caller, subject) {
      if (!isState(state)) throw refuse("invalid_argument", `state: must be one of ${[...states].join(", ")}`);
      subject.because = reasonOf(reason);
      // What was closed is opened by an administrator.
      if (state === "active") checkNeed("admin", caller);
      return { cluster: await change(caller, name, subject, () => ({ state })) };
    },
    async createNodeToken({ cluster, node, ttlSeconds, reason }, caller, subject) {
      const name = nodeOf(node);
      subject.because = reasonOf(reason);
      const seconds = ttlSeconds === 0 ? ttl.usual : ttlSeconds;
      if (seconds < ttl.least || seconds > ttl.most)
        throw refuse("invalid_argument", `ttl_seconds: must be ${ttl.least} to ${ttl.most}`);
      const record = await recordFor(caller, cluster, subject);
      subject.target = `${record.name}/${name}`;
      const { token, expiresAt } = await enrollment.createToken(record, name, seconds, asOperator(caller).operator);
      return { token, expiresAt: { seconds: BigInt(expiresAt), nanos: 0 }, caPin: caPin() };
    },
    async enrollNode({ token, certificateRequest, cluster, node }, _, subject) {
      const enrolled = await enrollment.enroll(token, certificateRequest, { cluster, node });
      subject.target = `${enrolled.cluster}/${enrolled.node}`;
      return { ...enrolled, ca: trustBundle(), gateways: [...gateways] };
    },
    async renewNode({ certificateRequest }, caller, subject) {
      if (caller.kind !== "node") throw refuse("permission_denied", "this method is for nodes");
      subject.target = `${caller.cluster}/${caller.node}`;
      const { certificate } = await enrollment.renew(caller, certificateRequest);
      return { certificate, ca: trustBundle() };
    },
    async revokeNode({ cluster, reason, ...who }, caller, subject) {
      const target = targetOf(who);
      subject.because = reasonOf(reason);
      if (target.node !== undefined) subject.target = `${cluster.slice(0, 64)}/${target.node}`;
      return { cluster: await change(caller, cluster, subject, revoke(target)) };
    },
    async allowNode({ cluster, reason, ...who }, caller, subject) {
      const target = targetOf(who);
      subject.because = reasonOf(reason);
      if (target.node !== undefined) subject.target = `${cluster.slice(0, 64)}/${target.node}`;
      return { cluster: await change(caller, cluster, subject, allow(target)) };
    },
  };
  return Object.fromEntries(
    (Object.keys(methods) as readonly MethodName[]).map((name) => [name, checked(name, methods[name])]),
  ) as FleetMethods;
}
