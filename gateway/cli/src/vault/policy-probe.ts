// How a policy is tried: with a token under it alone, and by what Vault says of that token. Changes nothing.
import { isDeepStrictEqual } from "node:util";
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import { recordIn, type VaultControl, type VaultData, VaultRefusal } from "./control.ts";

export type Finding = { readonly path: string; readonly what: string; readonly ok: boolean; readonly detail: string };

export type PolicyTest = {
  /** What its holder must be able to do. */
  readonly needed: readonly Finding[];
  /** What it must not be able to do. */
  readonly denied: readonly Finding[];
};

/** What no policy of ours opens, whoever it is for. */
export const closedOfVault = [
  "sys/mounts",
  "sys/mounts/another-mount",
  "sys/auth",
  "sys/audit",
  "sys/raw",
  "sys/seal",
  "sys/capabilities-self",
  "auth/token/create",
  "auth/token/lookup",
  "identity/entity",
  "secret/data/anything",
  "cubbyhole/anything",
];

/** How a call ends: taken, or refused with a status. */
export async function outcome(call: () => Promise<unknown>): Promise<"allowed" | number> {
  try {
    await call();
    return "allowed";
  } catch (error) {
    if (error instanceof VaultRefusal) return error.status;
    throw error;
  }
}

/** What a capability list says more than `allowed`. */
function excess(capabilities: unknown, allowed: readonly string[]): readonly string[] {
  if (!Array.isArray(capabilities)) return ["an answer that is no list"];
  return capabilities.map(String).filter((capability) => capability !== "deny" && !allowed.includes(capability));
}

/** One path that may be used for no more than `allowed`, by its capabilities. */
export function judge(data: VaultData, path: string, allowed: readonly string[], what: string): Finding {
  const more = excess(data[path], allowed);
  return { path, what, ok: more.length === 0, detail: more.length === 0 ? "denied" : `may ${more.join(", ")}` };
}

/** What a token may do at some paths, as Vault sees it: asked by the operator, changes nothing. */
export async function capabilitiesOf(
  operator: VaultControl,
  token: Secret,
  paths: readonly string[],
): Promise<VaultData> {
  const reply = await token.use((text) => operator.write("sys/capabilities", { token: text, paths }));
  return { ...reply, ...recordIn(reply, "data") };
}

/** A right that is not tried because it would change something: Vault says whether it is there, and alone. */
export function allowed(
  data: VaultData,
  path: string,
  capabilities: readonly string[],
  what: string,
  why = "",
): Finding {
  const found = data[path];
  const ok = Array.isArray(found) && isDeepStrictEqual(new Set(found), new Set(capabilities));
  return { path, what, ok, detail: ok ? `allowed${why}` : `capabilities ${JSON.stringify(found)}` };
}

/** Why a rotation is not tried. */
export const notTried = " (not tried: it would make a version)";

/** Before the first `cluster add` there is nothing there to be read, which is an answer, too. */
export async function registryFinding(gateway: VaultControl, path: string): Promise<Finding> {
  const result = await outcome(() => gateway.read(path));
  const ok = result === "allowed" || result === 404;
  return { path, what: "read the registry", ok, detail: ok ? "allowed" : `status ${result}` };
}

/** Capabilities say nothing of parameters: these are tried, with the values that they have. */
export async function refusedParameters(service: VaultControl, path: string, body: VaultData): Promise<Finding> {
  const result = await outcome(() => service.write(path, body));
  const ok = result === 403;
  return { path, what: Object.keys(body).join(), ok, detail: ok ? "denied" : `not denied (${result})` };
}

/** May the registry's clusters be listed? */
export async function listFinding(operator: VaultControl, token: Secret, path: string): Promise<Finding> {
  return allowed(await capabilitiesOf(operator, token, [path]), path, ["list"], "list the clusters");
}
