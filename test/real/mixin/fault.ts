// What a fault of site.test.ts is, and what they have in common.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { World } from "./world.ts";

export type Fault = {
  readonly how: string;
  readonly alerts: readonly string[];
  readonly cause: (world: World) => unknown;
  /** Absent: nothing after it needs what it took away. */
  readonly cure?: (world: World) => unknown;
};
/** Faults that come together, and one after the other. */
export type Round = { readonly name: string; readonly isShort: boolean; readonly faults: readonly Fault[] };

export function gateway({ lab }: World, i: number) {
  const found = lab.gateways[i];
  if (found === undefined) throw new TypeError(`there is no gateway ${i}`);
  return found;
}
/** The one of the second cluster. */
export function shim({ lab }: World) {
  const found = lab.shims[1];
  if (found === undefined) throw new TypeError("there is no second shim");
  return found;
}
export function vault({ lab }: World) {
  if (lab.vault === undefined) throw new TypeError("there is no Vault");
  return lab.vault;
}
export function edit({ lab }: World, change: (text: string) => string): void {
  const text = readFileSync(lab.registry, "utf8");
  writeFileSync(`${lab.registry}.new`, change(text));
  renameSync(`${lab.registry}.new`, lab.registry);
}
