// `vault init` for gateways: mount, keys, policy and login role, as their configuration and registry say.
import { integrityRef } from "@claviger/gateway-core/src/key/integrity.ts";
import { createServes } from "@claviger/gateway-core/src/registry/labels.ts";
import { CliError, type Terminal } from "../commander.ts";
import { type Fleet, openFleet } from "../fleet.ts";
import { backendOf, titleOf } from "./backend-of.ts";
import { carryOut, type OperatorVault, withTestToken } from "./carry-out.ts";
import { assertOwnMount, type ForeignKey, foreignKeys, sharingBackends } from "./foreign-keys.ts";
import { terraformText } from "./hcl.ts";
import { nextSteps } from "./init-report.ts";
import { type InitOptions, roleFor } from "./init-role.ts";
import { operatorPolicies, printOperatorPolicies } from "./operator-policies.ts";
import { makePlan, type PlanStep } from "./plan.ts";
import type { PolicyTest } from "./policy-probe.ts";
import { testPolicy } from "./policy-test.ts";
import { wantedKeys, type WantedKey, type WantedRegistry, wantedRegistry } from "./desired-state.ts";
import { commonPrefix, isCovered, policyText } from "./policy.ts";

/** Of each kind of keys so many are tried. */
const samples = 20;

/** Of keys that share their lines some are tried, and all that have lines of their own. */
function sampleOf(keys: readonly WantedKey[], prefix: string | undefined): readonly WantedKey[] {
  const [shared, own] = [keys.filter((key) => isCovered(key, prefix)), keys.filter((key) => !isCovered(key, prefix))];
  const plain = shared.filter(({ encrypts, auto }) => encrypts && auto);
  const special = shared.filter(({ encrypts, auto }) => !encrypts || !auto);
  return [...own, ...plain.slice(0, samples), ...special.slice(0, samples)];
}

function runPolicyTest(
  vault: OperatorVault,
  keys: readonly WantedKey[],
  policy: string,
  registry: WantedRegistry | undefined,
  prefix: string | undefined,
  foreign: readonly ForeignKey[],
): Promise<PolicyTest> {
  return withTestToken(vault, policy, (token) =>
    testPolicy({
      operator: vault.control,
      openGateway: vault.open,
      token,
      keys: sampleOf(keys, prefix),
      policy,
      ...(registry && { registry }),
      ...(prefix !== undefined && { prefix }),
      foreign: foreign.slice(0, samples),
    }),
  );
}

/** Of a key, or of a mount that has nothing but keys. */
function isOfKey({ key, what }: PlanStep): boolean {
  return key !== undefined || what.endsWith("(transit)");
}

/** What the gateways of a backend use. @throws CliError where that is nothing */
async function wantedOf({ registry: source, config }: Fleet, name: string, login: string | undefined) {
  const records = [...(await source.all()).values()];
  const serves = createServes(config.serves);
  const { integrity } = config;
  const keys = wantedKeys({
    records: records.filter(serves),
    backend: name,
    login,
    ...(integrity === undefined ? {} : { integrity: integrityRef(integrity) }),
  });
  const registry = wantedRegistry(config.registry, name, login);
  if (keys.length === 0 && registry === undefined)
    throw new CliError(
      records.some(serves) || records.length === 0
        ? `no cluster of the registry has a key in backend ${name}; add one first: claviger cluster add`
        : "no cluster of the registry has the labels that serves selects: claviger cluster label CLUSTER KEY=VALUE, or change serves",
    );
  const foreign = foreignKeys({ records, backends: config.backends, backend: name, serves, wanted: keys });
  return { keys, registry, foreign };
}

/** Makes a Vault ready for gateways, and shows that their policy is tight. */
export async function initForGateway(options: InitOptions, terminal: Terminal): Promise<void> {
  const fleet = openFleet(options, terminal);
  const { name, config } = backendOf(fleet.config, options.backend);
  const { keys, registry, foreign } = await wantedOf(fleet, name, config.namespace);
  const { keyPrefix } = options;
  assertOwnMount(keys, foreign, keyPrefix);
  // Where logins stand side by side, one name for all would give each what the last one may.
  const ownName =
    sharingBackends(fleet.config.backends, name).length === 0 ? "claviger-gateway" : `claviger-gateway-${name}`;
  const policy = { name: options.policy ?? ownName, text: policyText(keys, registry, keyPrefix) };
  const ofRegistry = registry === undefined ? {} : { registry };
  const role = roleFor(config.auth, {
    serviceAccount: "claviger-gateway",
    serviceAccountNamespace: "claviger-gateway",
    ...options,
    policy: policy.name,
    role: options.role ?? ownName,
  });
  const ofRole = role === undefined ? {} : { role };
  const period = options.autoRotate === undefined ? {} : { autoRotateSeconds: options.autoRotate };
  if (options.printPolicy) return terminal.out(policy.text.trimEnd());
  if (options.printOperatorPolicies)
    return terminal.out(printOperatorPolicies(operatorPolicies("claviger-operator", keys, registry)).trimEnd());
  if (options.printHcl)
    return terminal.out(terraformText({ keys, policy, ...ofRegistry, ...ofRole, ...period }).trimEnd());

  await fleet.withVault({ name, config }, async (vault) => {
    const plan = { vault: vault.control, keys, ...ofRegistry, policy, update: options.update, ...ofRole, ...period };
    const steps = await makePlan(plan);
    const conflicts = steps.filter(({ status }) => status === "conflict");
    const usable = keys.filter((key) => !conflicts.some((step) => step.key === key));
    const isDone = await carryOut({
      title: titleOf(name, config),
      steps,
      who: "gateway",
      // A key in the way holds up its own clusters and nobody else; anything else holds up all.
      mayGoOn: conflicts.every(isOfKey) && usable.length > 0,
      options,
      terminal,
      test: () => runPolicyTest(vault, usable, policy.name, registry, keyPrefix, foreign),
    });
    if (!isDone) return;
    const print = (text: string): void => void (options.json || terminal.out(text));
    const prefix = keyPrefix === undefined ? commonPrefix(keys) : undefined;
    if (prefix !== undefined)
      print(
        `The policy has lines for each of ${keys.length} keys, and changes with each cluster. With --key-prefix ${prefix} a few lines do for all keys that begin so, now and later; then the mount must be the fleet's own.`,
      );
    for (const line of nextSteps(role, policy.name, "gateway", config.namespace)) print(line);
    if (conflicts.length > 0)
      throw new CliError(
        `${conflicts.filter(({ key }) => key !== undefined).length} of ${keys.length} keys are as they were (CONFLICT above); the rest is done`,
      );
  });
}
