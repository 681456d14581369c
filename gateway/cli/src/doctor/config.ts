// A configuration that doctor is to look at: where it cannot be read, that is a row, and most others have nothing to
// go by.
import { type CheckRow, findingsOf } from "@claviger/proto/runtime/check.ts";

/** @param id of the check that says so */
export function loadOrRows<T>(id: string, load: () => T): { readonly config?: T; readonly rows: readonly CheckRow[] } {
  try {
    return { config: load(), rows: [] };
  } catch (error) {
    return { rows: findingsOf(error).map((finding) => ({ name: id, ...finding })) };
  }
}
