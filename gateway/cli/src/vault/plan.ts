// Looks at what a Vault holds, holds it against what is wanted, and says for each thing: there, to
// be made, to be changed, or in the way. Nothing that is there is changed unless it is ours (the
// marked policy) or `update` was asked for.
import { isDeepStrictEqual } from "node:util";
import { usableTypes } from "@claviger/gateway-core/src/backend/vault/key-problem.ts";
import type { VaultControl, VaultData } from "./control.ts";
import { removedRights } from "./hcl-policy.ts";
import type { RoleMethod, Wanted } from "./roles.ts";
import type { WantedKey, WantedRegistry } from "./desired-state.ts";
import { policyMark } from "./policy.ts";

export type PlanStep = {
  readonly what: string;
  readonly status: "present" | "create" | "change" | "conflict";
  /** What differs, or what is missing to go on. */
  readonly detail?: string;
  /** The one key that it is about: a conflict of it holds up nothing else. */
  readonly key?: WantedKey;
  /** Rights that the policy would lose. */
  readonly removes?: readonly string[];
  readonly apply?: () => Promise<unknown>;
};

export type PlanInput = {
  readonly vault: VaultControl;
  readonly keys: readonly WantedKey[];
  readonly registry?: WantedRegistry;
  readonly policy: { readonly name: string; readonly text: string };
  readonly role?: { readonly method: RoleMethod; readonly mount: string; readonly wanted: readonly Wanted[] };
  /** Seconds; absent: not our business. */
  readonly autoRotateSeconds?: number;
  readonly update: boolean;
};

/** Mount data by path, whatever slash it ends with. */
function mountAt(mounts: VaultData | undefined, path: string): VaultData | undefined {
  const found = mounts?.[`${path}/`];
  return typeof found === "object" && found !== null ? (found as VaultData) : undefined;
}

type Engine = {
  readonly vault: VaultControl;
  readonly list: "sys/mounts" | "sys/auth";
  readonly prefix?: string;
  readonly path: string;
  readonly type: string;
  readonly options?: Readonly<Record<string, string>>;
  /** How the mount is made; not held against one that is there. */
  readonly config?: Readonly<Record<string, string>>;
};

/** A secrets engine, or a login method. */
export async function engine({ vault, list, prefix = "", path, type, options, config }: Engine): Promise<PlanStep> {
  const found = mountAt(await vault.read(`${prefix}${list}`), path);
  const what = `${list === "sys/auth" ? "auth method" : "mount"} ${prefix}${path} (${type})`;
  if (found === undefined)
    return {
      what,
      status: "create",
      apply: () =>
        vault.write(`${prefix}${list}/${path}`, {
          type,
          description: "Claviger",
          ...(options && { options }),
          ...(config && { config }),
        }),
    };
  const given = (found["options"] ?? {}) as VaultData;
  const differs = Object.entries(options ?? {}).find(([name, value]) => given[name] !== value);
  if (differs !== undefined && found["type"] === type)
    return {
      what,
      status: "conflict",
      detail: `its ${differs[0]} is ${JSON.stringify(given[differs[0]] ?? "1")}, not ${JSON.stringify(differs[1])}`,
    };
  if (found["type"] !== type)
    return { what, status: "conflict", detail: `${path} is of type ${String(found["type"])}` };
  return { what, status: "present" };
}

/** Settings of an existing key that cannot be taken back, or that are not as asked. */
function keyProblems(data: VaultData): readonly string[] {
  return [
    ...(usableTypes.includes(String(data["type"]))
      ? []
      : [`its type is ${String(data["type"])}, not one of ${usableTypes.join(", ")}`]),
    ...(data["soft_deleted"] === true ? ["it is soft-deleted"] : []),
    ...(data["exportable"] === true ? ["it can be exported, for ever: make another key"] : []),
    ...(data["allow_plaintext_backup"] === true
      ? ["it can be backed up in the clear, for ever: make another key"]
      : []),
    ...(data["derived"] === true ? ["it is a derived key"] : []),
  ];
}

async function transitKey(input: PlanInput, key: WantedKey, mountStatus: PlanStep["status"]): Promise<PlanStep> {
  const { vault, autoRotateSeconds } = input;
  const { prefix, mount, name } = key;
  const path = `${prefix}${mount}/keys/${name}`;
  const what = `key ${path} (aes256-gcm96, not exportable, no plaintext backup)`;
  if (mountStatus === "conflict") return { what, key, status: "conflict", detail: "its mount is in the way" };
  const data = mountStatus === "create" ? undefined : await vault.read(path);
  const period = autoRotateSeconds === undefined ? {} : { auto_rotate_period: `${autoRotateSeconds}s` };
  if (data === undefined)
    return {
      what,
      key,
      status: "create",
      apply: () =>
        vault.write(path, { type: "aes256-gcm96", exportable: false, allow_plaintext_backup: false, ...period }),
    };
  const problems = keyProblems(data);
  if (problems.length > 0) return { what, key, status: "conflict", detail: problems.join("; ") };
  const found = Number(data["auto_rotate_period"] ?? 0);
  if (autoRotateSeconds !== undefined && found !== autoRotateSeconds)
    return {
      what,
      key,
      status: "change",
      detail: `auto_rotate_period ${found} s → ${autoRotateSeconds} s`,
      apply: () => vault.write(`${path}/config`, period),
    };
  return { what, key, status: "present" };
}

/** A policy of ours, or one that is in the way. */
export async function policyStep({
  vault,
  keys,
  policy,
  update,
}: Pick<PlanInput, "vault" | "keys" | "policy" | "update">): Promise<PlanStep> {
  const path = `sys/policies/acl/${policy.name}`;
  const what = `policy ${policy.name}`;
  const data = await vault.read(path);
  const found = data?.["policy"];
  const apply = (): Promise<unknown> => vault.write(path, { policy: policy.text });
  if (typeof found !== "string") return { what, status: "create", apply };
  if (found.trim() === policy.text.trim()) return { what, status: "present" };
  // A registry that was moved or lost must not take the keys away from gateways that serve.
  if (found.includes("/decrypt/") && !update && !keys.some(({ use }) => use === "data"))
    return {
      what,
      status: "conflict",
      detail:
        "the registry has no cluster, and the policy there lets gateways use keys: import the registry first, name its file with --registry, or empty the policy with --update",
    };
  const removes = removedRights(found, policy.text);
  if (found.startsWith(policyMark))
    return { what, status: "change", detail: "it follows the registry", removes, apply };
  // Who says --update has seen that it is another one.
  const loses = removes.length === 0 ? "" : `; it loses ${removes.join(", ")}`;
  if (update) return { what, status: "change", detail: `it was not written by this command${loses}`, apply };
  return {
    what,
    status: "conflict",
    detail: "a policy of this name was not written by this command; choose --policy NAME, or replace it with --update",
  };
}

/** Vault returns lists in an order of its own, and durations as numbers. */
export function alike(wanted: unknown, found: unknown): boolean {
  if (Array.isArray(wanted) && Array.isArray(found)) return isDeepStrictEqual(new Set(wanted), new Set(found));
  if (typeof wanted === "string" && typeof found === "string") return wanted.trim() === found.trim();
  return isDeepStrictEqual(wanted, found);
}

function saysNothing(value: unknown): boolean {
  return value === undefined || value === null || value === "" || (Array.isArray(value) && value.length === 0);
}

async function roleStep(
  { vault, update }: Pick<PlanInput, "vault" | "update">,
  { path, body, needs, configuredBy }: Wanted,
  authIsNew: boolean,
): Promise<PlanStep> {
  const what = configuredBy === undefined ? `role ${path}` : `configuration ${path}`;
  const apply = (): Promise<unknown> => vault.write(path, body);
  const found = authIsNew ? undefined : await vault.read(path);
  if (found === undefined || configuredBy?.every((field) => saysNothing(found[field])) === true)
    return needs.length > 0
      ? { what, status: "conflict", detail: `to make it, give ${needs.join(" and ")}` }
      : { what, status: "create", apply };
  const differing = Object.entries(body).filter(([field, value]) => !alike(value, found[field]));
  if (configuredBy !== undefined || differing.length === 0) return { what, status: "present" };
  const detail = differing
    .map(([field, value]) => `${field} is ${JSON.stringify(found[field])}, wanted ${JSON.stringify(value)}`)
    .join("; ");
  return update
    ? { what, status: "change", detail, apply }
    : { what, status: "conflict", detail: `${detail}; change it with --update` };
}

/** A login method and its role. */
export async function loginSteps(
  input: Pick<PlanInput, "vault" | "update">,
  role: NonNullable<PlanInput["role"]>,
): Promise<readonly PlanStep[]> {
  const auth = await engine({ vault: input.vault, list: "sys/auth", path: role.mount, type: role.method });
  const steps = [auth];
  for (const wanted of role.wanted) steps.push(await roleStep(input, wanted, auth.status !== "present"));
  return steps;
}

/** Every step, in the order in which they must be applied. Reads only. */
export async function makePlan(input: PlanInput): Promise<readonly PlanStep[]> {
  const { vault, keys, registry, role } = input;
  const steps: PlanStep[] = [];
  const mounts = new Map<string, PlanStep["status"]>();
  for (const [at, { prefix, mount }] of new Map(keys.map((key) => [key.prefix + key.mount, key]))) {
    const step = await engine({ vault, list: "sys/mounts", prefix, path: mount, type: "transit" });
    steps.push(step);
    mounts.set(at, step.status);
  }
  for (const key of keys) steps.push(await transitKey(input, key, mounts.get(key.prefix + key.mount) ?? "present"));
  if (registry !== undefined) {
    const { prefix, mount: path } = registry;
    steps.push(await engine({ vault, list: "sys/mounts", prefix, path, type: "kv", options: { version: "2" } }));
  }
  steps.push(await policyStep(input));
  return role === undefined ? steps : [...steps, ...(await loginSteps(input, role))];
}

/** Applies what is to be made or changed; stops at the first refusal. */
export async function applyPlan(steps: readonly PlanStep[]): Promise<number> {
  const todo = steps.flatMap(({ apply }) => (apply === undefined ? [] : [apply]));
  for (const apply of todo) await apply();
  return todo.length;
}
