// `vault init --for fleet`: registry, tokens, PKI, policy and login role of the fleet service, as its configuration
// says. Keys of clusters are the gateways' part.
import { CliError, type Terminal } from "../commander.ts";
import { openTarget } from "../fleet.ts";
import { backendOf, titleOf } from "./backend-of.ts";
import { carryOut, withTestToken } from "./carry-out.ts";
import type { VaultControl } from "./control.ts";
import type { WantedKey } from "./desired-state.ts";
import { fleetPolicyText, rotatedKeys } from "./fleet-policy.ts";
import { testFleetPolicy } from "./fleet-policy-test.ts";
import { pkiSteps } from "./fleet-pki.ts";
import { readFleetSettings } from "./fleet-settings.ts";
import { pkiAt, wantedFleet, type WantedFleet } from "./fleet-state.ts";
import { fleetTerraformText } from "./hcl.ts";
import { assertOwnMount, foreignKeys, sharingBackends } from "./foreign-keys.ts";
import { inNamespace, nextSteps } from "./init-report.ts";
import { type InitOptions, type Role, roleFor } from "./init-role.ts";
import { engine, loginSteps, type PlanStep, policyStep } from "./plan.ts";

/** Of keys that are alike so many are tried. */
const samples = 20;

/** Some of those that are rotated, and all others. */
function sampleOf(keys: readonly WantedKey[]): readonly WantedKey[] {
  const rotated = rotatedKeys(keys);
  return [...rotated.slice(0, samples), ...keys.filter((key) => !rotated.includes(key)).slice(-samples)];
}

async function planOf(
  vault: VaultControl,
  wanted: WantedFleet,
  policy: { readonly name: string; readonly text: string },
  role: Role | undefined,
  options: InitOptions,
): Promise<readonly PlanStep[]> {
  const { registry, tokens, approvals, pki, keys } = wanted;
  const stores = new Map(
    [registry, tokens, approvals].flatMap((one) => (one ? [[`${one.prefix}${one.mount}`, one] as const] : [])),
  );
  const steps: PlanStep[] = [];
  for (const { prefix, mount: path } of stores.values())
    steps.push(await engine({ vault, list: "sys/mounts", prefix, path, type: "kv", options: { version: "2" } }));
  if (pki !== undefined) steps.push(...(await pkiSteps(vault, pki, options)));
  steps.push(await policyStep({ vault, keys, policy, update: options.update }));
  return role === undefined ? steps : [...steps, ...(await loginSteps({ vault, update: options.update }, role))];
}

/** Makes a Vault ready for the fleet service, and shows that its policy is tight. */
export async function initForFleet(options: InitOptions, terminal: Terminal): Promise<void> {
  if (options.printOperatorPolicies || options.autoRotate !== undefined)
    throw new CliError(
      "--print-operator-policies and --auto-rotate are for gateways; --print-policy and --print-hcl print what is the fleet service's",
    );
  const { settings, target } = readFleetSettings(options, terminal);
  const { backends } = settings;
  const { name, config } = backendOf(settings, options.backend);
  const fleet = openTarget(target, terminal);
  // There may be no registry yet: its mount is made here.
  const records = [...(await fleet.registry.all("empty")).values()];
  const wanted = wantedFleet(settings, records, name, config.namespace);
  const { keys, registry, tokens, approvals, pki } = wanted;
  if (keys.length === 0 && (registry ?? tokens ?? approvals ?? pki) === undefined)
    throw new CliError(`the fleet service uses nothing of backend ${name}: neither registry, tokens, PKI nor a key`);
  const foreign = foreignKeys({ records, backends, backend: name, serves: () => true, wanted: keys });
  assertOwnMount(keys, foreign, options.keyPrefix);
  const ownName = sharingBackends(backends, name).length === 0 ? "claviger-fleet" : `claviger-fleet-${name}`;
  const policy = {
    name: options.policy ?? ownName,
    text: fleetPolicyText(wanted, { prefix: options.keyPrefix, retires: options.withRetire }),
  };
  if (options.printPolicy) return terminal.out(policy.text.trimEnd());
  const role = roleFor(config.auth, {
    serviceAccount: "claviger-fleet",
    serviceAccountNamespace: "claviger-fleet",
    ...options,
    policy: policy.name,
    role: options.role ?? ownName,
  });
  if (options.printHcl) return terminal.out(fleetTerraformText({ wanted, policy, role }).trimEnd());

  await fleet.withVault({ name, config }, async (vault) => {
    const isDone = await carryOut({
      title: titleOf(name, config),
      steps: await planOf(vault.control, wanted, policy, role, options),
      who: "fleet service",
      options,
      terminal,
      test: () =>
        withTestToken(vault, policy.name, (token) =>
          testFleetPolicy({
            vault,
            token,
            wanted: { ...wanted, keys: sampleOf(keys) },
            policy: policy.name,
            retires: options.withRetire,
            foreign: foreign.slice(0, samples),
          }),
        ),
    });
    if (!isDone || options.json) return;
    for (const line of nextSteps(role, policy.name, "fleet service", config.namespace)) terminal.out(line);
    if (pki !== undefined)
      terminal.out(
        `Gateways and the fleet service must trust its CA (tls.clientCa): vault read${inNamespace(config.namespace)} -field=certificate ${pkiAt(pki)}/cert/ca`,
      );
  });
}
