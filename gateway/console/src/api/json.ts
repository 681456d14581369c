// What messages of FleetService are in JSON (ProtoJSON): a field that has its default is absent, a timestamp is RFC
// 3339, and a number of 64 bits is text. Types alone: the generated schemas with their reflection would be half of
// all that a browser loads.
import type { MessageShape, DescMessage } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { FleetService } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";

export type Json<T> = T extends bigint
  ? string
  : T extends string | number | boolean | undefined
    ? T
    : T extends Timestamp
      ? string
      : T extends readonly (infer U)[]
        ? readonly Json<U>[]
        : { readonly [K in keyof T as Exclude<K, "$typeName" | "$unknown">]?: Json<T[K]> };

type Methods = (typeof FleetService)["method"];
type Shape<D> = D extends DescMessage ? Json<MessageShape<D>> : never;
export type MethodName = keyof Methods;
export type UnaryName = {
  [M in MethodName]: Methods[M]["methodKind"] extends "unary" ? M : never;
}[MethodName];
export type Request<M extends MethodName> = Shape<Methods[M]["input"]>;
export type Reply<M extends MethodName> = Shape<Methods[M]["output"]>;

type Item<T> = NonNullable<T> extends readonly (infer U)[] ? U : never;
export type Who = Reply<"whoAmI">;
export type Cluster = NonNullable<Reply<"getCluster">["cluster"]>;
export type ClusterStatus = Item<Reply<"listClusterStatus">["clusters"]>;
export type Node = Item<Reply<"listNodes">["nodes"]>;
export type Gateway = Item<Reply<"listGateways">["gateways"]>;
export type FleetStatus = Reply<"getFleetStatus">;
export type Attention = Item<FleetStatus["attention"]>;
export type ClusterKeys = Item<Reply<"listKeys">["keys"]>;
export type KeyVersion = Item<ClusterKeys["versions"]>;
export type Approval = Item<Reply<"listApprovals">["approvals"]>;
export type FleetEvent = Reply<"watchEvents">;
export type HistoryPoint = Item<Reply<"getHistory">["points"]>;
export type KeyShown = Item<Reply<"getKeyTimeline">["shown"]>;
export type AuditRecord = Item<Reply<"searchAudit">["records"]>;
export type AuditState = Reply<"getAuditState">;
