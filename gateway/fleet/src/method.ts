// What a method of FleetService is: its request, its caller, its reply, and what it asks of the caller.
// (docs/architecture.md #control-plane.)
import type { MessageInitShape } from "@bufbuild/protobuf";
import type * as pb from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { Caller, Need } from "./caller.ts";

export type MethodName = keyof typeof pb.FleetService.method;

/** What each method asks of its caller. A method without a row does not compile. */
export const needs: Readonly<Record<MethodName, Need>> = {
  whoAmI: "certificate",
  getTrustBundle: "anybody",
  listClusters: "viewer",
  getCluster: "viewer",
  addCluster: "operator",
  importClusters: "operator",
  updateCluster: "operator",
  removeCluster: "admin",
  setClusterState: "operator",
  createNodeToken: "operator",
  enrollNode: "anybody",
  renewNode: "node",
  revokeNode: "operator",
  allowNode: "admin",
  getClusterKeys: "viewer",
  listKeys: "viewer",
  rotateKey: "operator",
  promoteKey: "operator",
  retireKey: "admin",
  unretireKey: "admin",
  reportKeyUsage: "operator",
  listApprovals: "viewer",
  getApproval: "viewer",
  approveChange: "admin",
  rejectChange: "operator",
  getRevocationList: "viewer",
  watchEvents: "viewer",
  listNodes: "viewer",
  getNode: "viewer",
  listGateways: "viewer",
  getFleetStatus: "viewer",
  listClusterStatus: "viewer",
  getHistory: "viewer",
  getKeyTimeline: "viewer",
  searchAudit: "viewer",
  getAuditState: "viewer",
};

/** What a call was about, for its audit record: filled in by the method as it learns it. */
export type Subject = {
  target?: string;
  because?: string;
  /** The id of an approval, who asked for the change, and with which method. */
  approval?: string;
  requestedBy?: string;
  change?: string;
};

type Schema = (typeof pb.FleetService)["method"];
type Kind<M extends MethodName> = Schema[M]["methodKind"];
/** The methods that answer with a stream. */
export type StreamName = { [M in MethodName]: Kind<M> extends "server_streaming" ? M : never }[MethodName];
/** Those that answer once. */
export type UnaryName = Exclude<MethodName, StreamName>;

type Input<M extends MethodName> = MessageInitShape<Schema[M]["input"]>;
type Request<M extends MethodName> = Required<Omit<Input<M>, "$typeName" | "$unknown">>;
type Reply<M extends MethodName> = MessageInitShape<Schema[M]["output"]>;

/** Each method rejects with a Refusal, or with an error that toRefusal turns into one. */
export type FleetMethods = {
  readonly [M in UnaryName]: (request: Request<M>, caller: Caller, subject: Subject) => Promise<Reply<M>>;
};

/** Each ends when the signal aborts. The caller is held against `needs` before, and as long as it lasts. */
export type FleetStreams = {
  readonly [M in StreamName]: (
    request: Request<M>,
    caller: Caller,
    subject: Subject,
    signal: AbortSignal,
  ) => AsyncIterable<Reply<M>>;
};
