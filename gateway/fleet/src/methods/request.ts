// What stands in requests of several methods, checked.
import { type NodeName, nodeName } from "@claviger/proto/wire/names.ts";
import type { NodeTarget } from "@claviger/gateway-core/src/registry/edit/nodes.ts";
import { normalSerial } from "@claviger/gateway-core/src/registry/record.ts";
import type { Caller, Operator } from "../caller.ts";
import { refuse } from "../refusal.ts";

const maxReason = 256;

/** @throws Refusal permission_denied */
export function asOperator(caller: Caller): Operator {
  if (caller.kind !== "operator") throw refuse("permission_denied", "this method is for operators");
  return caller;
}

/** @throws Refusal */
export function reasonOf(text: string): string {
  const reason = text.trim();
  if (reason === "" || reason.length > maxReason)
    throw refuse("invalid_argument", `reason: say why, in 1 to ${maxReason} characters; it stands in the audit record`);
  return reason;
}

/** @throws Refusal */
export function nodeOf(text: string): NodeName {
  if (!nodeName.is(text)) throw refuse("invalid_argument", `node: must be ${nodeName.rule}`);
  return text;
}

/** A node, or serial numbers. @throws Refusal */
export function targetOf({
  node,
  serials,
}: {
  readonly node: string;
  readonly serials: readonly string[];
}): NodeTarget {
  if ((node === "") === (serials.length === 0))
    throw refuse("invalid_argument", "give a node, or serial numbers of certificates: one of the two");
  const wrong = serials.find((serial) => !/^[0-9A-Fa-f:]{1,128}$/.test(serial));
  if (wrong !== undefined) throw refuse("invalid_argument", "serials: must be hexadecimal digits");
  return node === "" ? { serials: serials.map(normalSerial) } : { node: nodeOf(node), serials: [] };
}
