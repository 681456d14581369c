// A record as text, in the form that people write. (docs/architecture.md #registry.)
import type { KeyRef } from "../../backend/port.ts";
import type { Labels } from "../labels.ts";
import { type ClusterRecord, defaultRequestsPerSecond } from "../record.ts";
import { scalar } from "./yaml.ts";

/** A record as `cluster add` and `cluster import` write it: what it does not say has its default. */
export type NewRecord = Pick<ClusterRecord, "name" | "uid" | "state" | "rotation" | "keys" | "issuer"> &
  Partial<Pick<ClusterRecord, "generation" | "previousKeys" | "labels" | "nodes" | "limits">>;

/** The nodes of a record on one line. */
export function nodesText({
  expected,
  revoked = [],
  revokedSerials = [],
}: NonNullable<ClusterRecord["nodes"]>): string {
  const list = (field: string, names: readonly string[]): string => `${field}: [${names.map(scalar).join(", ")}]`;
  const parts = [
    ...(expected === undefined ? [] : [list("expected", expected)]),
    ...(revoked.length === 0 ? [] : [list("revoked", revoked)]),
    ...(revokedSerials.length === 0 ? [] : [list("revokedSerials", revokedSerials)]),
  ];
  return parts.length === 0 ? "{}" : `{ ${parts.join(", ")} }`;
}

/**
 * The labels of a record, on one line.
 * @param indent of a line for each, where they stand in block style
 */
export function labelsText(labels: Labels, indent?: string): string {
  const parts = Object.entries(labels).map(([key, value]) => `${scalar(key)}: ${scalar(value)}`);
  if (parts.length > 0 && indent !== undefined) return parts.join(`\n${indent}`);
  return parts.length === 0 ? "{}" : `{ ${parts.join(", ")} }`;
}

export function limitsText({ requestsPerSecond }: ClusterRecord["limits"]): string {
  return `{ requestsPerSecond: ${requestsPerSecond} }`;
}

/** A record as it stands in the file, in the form that people write. */
export function printRecord(record: NewRecord, indent = ""): string {
  const { name, uid, state, rotation, keys, issuer, generation = 0, previousKeys = [], labels, nodes, limits } = record;
  const key = (ref: KeyRef): string =>
    `{ ${Object.entries(ref)
      .map(([field, value]) => `${field}: ${scalar(value)}`)
      .join(", ")} }`;
  const list = (refs: readonly KeyRef[]): string => `[${refs.map(key).join(", ")}]`;
  const rate = limits?.requestsPerSecond ?? defaultRequestsPerSecond;
  const lines = [
    `- name: ${scalar(name)}`,
    `  uid: ${scalar(uid)}`,
    ...(generation === 0 ? [] : [`  generation: ${generation}`]),
    `  state: ${state}`,
    `  rotation: ${rotation}`,
    `  keys: ${list(keys)}`,
    ...(previousKeys.length === 0 ? [] : [`  previousKeys: ${list(previousKeys)}`]),
    ...(issuer === undefined ? [] : [`  issuer: ${issuer}`]),
    ...(labels === undefined ? [] : [`  labels: ${labelsText(labels)}`]),
    ...(nodes === undefined ? [] : [`  nodes: ${nodesText(nodes)}`]),
    ...(rate === defaultRequestsPerSecond ? [] : [`  limits: ${limitsText({ requestsPerSecond: rate })}`]),
  ];
  return lines.map((line) => `${indent}${line}\n`).join("");
}
