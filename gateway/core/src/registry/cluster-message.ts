// A cluster as the API has it, and as the registry has it. (docs/architecture.md #control-plane.)
import { createHash } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Cluster, ClusterSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { ConfigError, isTree } from "@claviger/proto/runtime/config.ts";
import type { KeyRef } from "../backend/port.ts";
import { checkRecord, type ClusterRecord } from "./record.ts";

/** As many bytes of the digest as no two edits share. */
const etagBytes = 12;

/** The same fields in one order, whoever has put the record together. */
function ordered(_: string, value: unknown): unknown {
  return isTree(value) ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))) : value;
}

/** Another one after each change of the record. */
export function etagOf(record: ClusterRecord): string {
  return createHash("sha256")
    .update(JSON.stringify(record, ordered))
    .digest()
    .subarray(0, etagBytes)
    .toString("base64url");
}

function keyMessage({ backend, namespace = "", mount, key }: KeyRef) {
  return { backend, namespace, mount, key };
}

export function clusterMessage(record: ClusterRecord): Cluster {
  const { name, uid, state, generation, rotation, keys, previousKeys, labels, nodes, issuer = "", limits } = record;
  return create(ClusterSchema, {
    name,
    uid,
    state,
    generation,
    rotation,
    keys: keys.map(keyMessage),
    previousKeys: previousKeys.map(keyMessage),
    labels: { ...labels },
    expectedNodes: [...(nodes?.expected ?? [])],
    expectsNoNode: nodes?.expected?.length === 0,
    revokedNodes: [...(nodes?.revoked ?? [])],
    revokedSerials: [...(nodes?.revokedSerials ?? [])],
    issuer,
    requestsPerSecond: limits.requestsPerSecond,
    etag: etagOf(record),
  });
}

/** Without what is empty: in a record that is absent. */
function given<T extends object>(field: string, value: T): object {
  return (Array.isArray(value) ? value.length : Object.keys(value).length) === 0 ? {} : { [field]: value };
}

function nodesOf({ expectedNodes, expectsNoNode, revokedNodes, revokedSerials }: Cluster): object {
  return {
    ...(expectsNoNode ? { expected: [] } : given("expected", expectedNodes)),
    ...given("revoked", revokedNodes),
    ...given("revokedSerials", revokedSerials),
  };
}

/**
 * The record of a cluster of the API; what is empty has its default.
 * @param newUid for one without a uid
 * @throws ConfigError with everything that is wrong
 */
export function recordOfMessage(init: MessageInitShape<typeof ClusterSchema>, newUid: () => string): ClusterRecord {
  const message = create(ClusterSchema, init);
  const { name, uid, state, generation, rotation, keys, previousKeys, labels, issuer, requestsPerSecond } = message;
  const refs = (list: Cluster["keys"]) =>
    list.map(({ backend, namespace, mount, key }) => ({ backend, mount, key, ...(namespace !== "" && { namespace }) }));
  const { record, problems } = checkRecord({
    name,
    uid: uid === "" ? newUid() : uid,
    generation,
    state: state === "" ? "active" : state,
    keys: refs(keys),
    ...(rotation !== "" && { rotation }),
    ...given("previousKeys", refs(previousKeys)),
    ...(issuer !== "" && { issuer }),
    ...given("labels", labels),
    ...given("nodes", nodesOf(message)),
    ...(requestsPerSecond !== 0 && { limits: { requestsPerSecond } }),
  });
  if (record === undefined) throw new ConfigError(name === "" ? "cluster" : `cluster ${name}`, problems);
  return record;
}

/** Do these records say the same? Nothing, and an empty list, are one. */
export function isSameRecord(a: ClusterRecord, b: ClusterRecord): boolean {
  const normal = (record: ClusterRecord): string =>
    etagOf(recordOfMessage({ ...clusterMessage(record), etag: "" }, () => record.uid));
  return normal(a) === normal(b);
}
