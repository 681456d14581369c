// What stands in requests of several methods, checked.
import { type NodeName, nodeName } from "@claviger/proto/wire/names.ts";
import type { LabelSelector } from "@claviger/gateway-core/src/registry/labels.ts";
import { parseSelector, SelectorError } from "@claviger/gateway-core/src/registry/selector.ts";
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

/** @throws Refusal */
export function selectorOf(text: string): LabelSelector {
  try {
    return parseSelector(text);
  } catch (error) {
    if (!(error instanceof SelectorError)) throw error;
    throw refuse("invalid_argument", `selector: ${error.message.replace(/^-l /, "")}`);
  }
}

/**
 * The page that a request asks for, of things that are in the order of their names.
 * @throws Refusal
 */
export function pageOf<T extends { readonly name: string }>(
  { pageSize, pageToken }: { readonly pageSize: number; readonly pageToken: string },
  { usual, most }: { readonly usual: number; readonly most: number },
  all: () => readonly T[],
): { readonly page: readonly T[]; readonly nextPageToken: string } {
  if (pageSize > most) throw refuse("invalid_argument", `page_size: must be at most ${most}`);
  const rest = all().filter(({ name }) => name > pageToken);
  const page = rest.slice(0, pageSize === 0 ? usual : pageSize);
  return { page, nextPageToken: page.length < rest.length ? (page.at(-1)?.name ?? "") : "" };
}
