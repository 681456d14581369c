// Why a Transit key that is there cannot be used. (docs/architecture.md #vault.)
import type { KeyRef } from "../port.ts";

/** Transit's types that encrypt with associated data. */
export const usableTypes: readonly string[] = [
  "aes256-gcm96",
  "aes128-gcm96",
  "chacha20-poly1305",
  "xchacha20-poly1305",
];

/** What is wrong with a key, as its reading says, and what to do; undefined when nothing is. */
export function problemOf(
  {
    type,
    soft_deleted: isDeleted,
    derived: isDerived,
  }: {
    readonly type?: string | undefined;
    readonly soft_deleted?: boolean | undefined;
    readonly derived?: boolean | undefined;
  },
  { mount, key }: KeyRef,
): string | undefined {
  if (isDeleted === true)
    return `${mount}/${key} is soft-deleted; restore it: bao write -f ${mount}/keys/${key}/soft-delete-restore`;
  if (type !== undefined && !usableTypes.includes(type))
    return `${mount}/${key} is of type ${type}, which does not encrypt with associated data; use ${usableTypes.join(", ")}`;
  return isDerived === true
    ? `${mount}/${key} is derived, and a gateway gives no context; make another key`
    : undefined;
}
