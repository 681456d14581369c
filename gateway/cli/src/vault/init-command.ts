// `claviger vault init`: makes a Vault ready for the gateway, as its configuration and registry
// say, and shows that the policy is tight.
import { parseDuration } from "@claviger/proto/runtime/duration.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { Secret } from "@claviger/proto/runtime/secret.ts";
import { integrityRef } from "@claviger/gateway-core/src/key/integrity.ts";
import { createServes } from "@claviger/gateway-core/src/registry/labels.ts";
import { CliError, type Command, Exit, InvalidArgumentError, Option, type Terminal } from "../commander.ts";
import { type Fleet, openFleet, type VaultBackend } from "../fleet.ts";
import { fleetOptions } from "../target.ts";
import { recordIn, type VaultControl } from "./control.ts";
import { terraformText } from "./hcl.ts";
import { nextSteps, printPlan, printTest } from "./init-report.ts";
import { type InitOptions, roleFor } from "./init-role.ts";
import { operatorPolicies, printOperatorPolicies } from "./operator-policies.ts";
import { applyPlan, makePlan, type PlanStep } from "./plan.ts";
import { type PolicyTest, testPolicy } from "./policy-test.ts";
import { assertOwnMount, type ForeignKey, foreignKeys, sharingBackends } from "./foreign-keys.ts";
import { wantedKeys, type WantedKey, type WantedRegistry, wantedRegistry } from "./desired-state.ts";
import { commonPrefix, isCovered, policyText } from "./policy.ts";

function seconds(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms < 1000) throw new InvalidArgumentError("Must be a duration such as 30s, 20m or 720h.");
  return Math.round(ms / 1000);
}

function backendOf({ config }: Fleet, wanted: string | undefined): VaultBackend {
  const vaults = Object.entries(config.backends).flatMap(([name, backend]) =>
    backend.kind === "vault" ? [{ name, config: backend }] : [],
  );
  const found = wanted === undefined ? vaults : vaults.filter(({ name }) => name === wanted);
  const [one, more] = found;
  if (one === undefined)
    throw new CliError(
      wanted === undefined ? "the configuration has no backend of kind vault" : `there is no vault backend ${wanted}`,
    );
  if (more !== undefined) throw new CliError(`give --backend: one of ${vaults.map(({ name }) => name).join(", ")}`);
  return one;
}

const tokenTtl = "60s";
/** Of each kind of keys so many are tried. */
const samples = 20;

/** Of keys that share their lines some are tried, and all that have lines of their own. */
function sampleOf(keys: readonly WantedKey[], prefix: string | undefined): readonly WantedKey[] {
  const [shared, own] = [keys.filter((key) => isCovered(key, prefix)), keys.filter((key) => !isCovered(key, prefix))];
  const plain = shared.filter(({ encrypts, auto }) => encrypts && auto);
  const special = shared.filter(({ encrypts, auto }) => !encrypts || !auto);
  return [...own, ...plain.slice(0, samples), ...special.slice(0, samples)];
}

async function runPolicyTest(
  { control, open }: { readonly control: VaultControl; readonly open: (token: Secret) => VaultControl },
  keys: readonly WantedKey[],
  policy: string,
  registry: WantedRegistry | undefined,
  prefix: string | undefined,
  foreign: readonly ForeignKey[],
): Promise<PolicyTest> {
  const created = await control.write("auth/token/create", {
    policies: [policy],
    no_default_policy: true,
    ttl: tokenTtl,
    display_name: "claviger-policy-test",
  });
  const { client_token: text } = recordIn(created, "auth");
  if (typeof text !== "string")
    throw new KmsError("backend_protocol_error", { cause: new Error("no token in the reply of auth/token/create") });
  const token = new Secret(text);
  try {
    return await testPolicy({
      operator: control,
      openGateway: open,
      token,
      keys: sampleOf(keys, prefix),
      policy,
      ...(registry && { registry }),
      ...(prefix !== undefined && { prefix }),
      foreign: foreign.slice(0, samples),
    });
  } finally {
    await open(token)
      .write("auth/token/revoke-self", {})
      .catch(() => undefined);
  }
}

/** Of a key, or of a mount that has nothing but keys. */
function isOfKey({ key, what }: PlanStep): boolean {
  return key !== undefined || what.endsWith("(transit)");
}

async function init(options: InitOptions, terminal: Terminal): Promise<void> {
  const fleet = openFleet(options, terminal);
  const { name, config } = backendOf(fleet, options.backend);
  const records = [...(await fleet.registry.all()).values()];
  const { integrity } = fleet.config;
  const serves = createServes(fleet.config.serves);
  const keys = wantedKeys({
    records: records.filter(serves),
    backend: name,
    login: config.namespace,
    ...(integrity === undefined ? {} : { integrity: integrityRef(integrity) }),
  });
  const registry = wantedRegistry(fleet.config.registry, name, config.namespace);
  if (keys.length === 0 && registry === undefined)
    throw new CliError(
      records.some(serves) || records.length === 0
        ? `no cluster of the registry has a key in backend ${name}; add one first: claviger cluster add`
        : "no cluster of the registry has the labels that serves selects: claviger cluster label CLUSTER KEY=VALUE, or change serves",
    );
  const { keyPrefix } = options;
  const foreign = foreignKeys({ records, backends: fleet.config.backends, backend: name, serves, wanted: keys });
  assertOwnMount(keys, foreign, keyPrefix);
  // Where logins stand side by side, one name for all would give each what the last one may.
  const ownName =
    sharingBackends(fleet.config.backends, name).length === 0 ? "claviger-gateway" : `claviger-gateway-${name}`;
  const policy = { name: options.policy ?? ownName, text: policyText(keys, registry, keyPrefix) };
  const ofRegistry = registry === undefined ? {} : { registry };
  const role = roleFor(config.auth, { ...options, policy: policy.name, role: options.role ?? ownName });
  const period = options.autoRotate === undefined ? {} : { autoRotateSeconds: options.autoRotate };
  if (options.printPolicy) return terminal.out(policy.text.trimEnd());
  if (options.printOperatorPolicies)
    return terminal.out(printOperatorPolicies(operatorPolicies("claviger-operator", keys, registry)).trimEnd());
  if (options.printHcl)
    return terminal.out(
      terraformText({ keys, policy, ...ofRegistry, ...(role === undefined ? {} : { role }), ...period }).trimEnd(),
    );

  await fleet.withVault({ name, config }, async (vault) => {
    const steps = await makePlan({
      vault: vault.control,
      keys,
      ...ofRegistry,
      policy,
      update: options.update,
      ...(role === undefined ? {} : { role }),
      ...period,
    });
    const conflicts = steps.filter(({ status }) => status === "conflict");
    const usable = keys.filter((key) => !conflicts.some((step) => step.key === key));
    const pending = steps.filter(({ apply }) => apply !== undefined).length;
    const print = (text: string): void => void (options.json || terminal.out(text));
    print(
      `backend ${name}, ${config.addresses.join(", ")}${config.namespace === undefined ? "" : `, namespace ${config.namespace}`}`,
    );
    if (!options.json) printPlan(steps, terminal);
    // A key in the way holds up its own clusters and nobody else; anything else holds up all.
    const isOnlyKeys = conflicts.every(isOfKey) && usable.length > 0;
    if (conflicts.length > 0 && !isOnlyKeys)
      throw new CliError(
        `${conflicts.length === 1 ? "one thing is" : `${conflicts.length} things are`} in the way (CONFLICT above); nothing was changed`,
      );
    if (options.dryRun) {
      if (options.json) terminal.out(JSON.stringify({ changed: 0, pending, steps }, undefined, 2));
      return print(pending === 0 ? "Nothing to do." : `${pending} to do; nothing was changed (--dry-run).`);
    }
    const removed = steps.flatMap(({ removes = [] }) => removes).length;
    if (removed > 0 && !options.yes)
      throw new CliError(
        `the policy would lose ${removed} of its rights (REMOVES above), and gateways that still need one would stop; nothing was changed: where that is meant, run this again with --yes`,
      );
    const changed = await applyPlan(steps);
    print(changed === 0 ? "Nothing was changed: all of it was there." : `${changed} done.`);
    const test = await runPolicyTest(vault, usable, policy.name, registry, keyPrefix, foreign);
    const isTight = [...test.needed, ...test.denied].every(({ ok }) => ok);
    if (options.json) terminal.out(JSON.stringify({ changed, steps, policy: test, ok: isTight }, undefined, 2));
    else printTest(test, terminal);
    if (!isTight) {
      terminal.err("claviger: the policy is not what it should be, see FAIL and OPEN above");
      throw new Exit(1);
    }
    print(`\nThe gateway can do what it must, and nothing more of the ${test.denied.length} things that were tried.`);
    const prefix = keyPrefix === undefined ? commonPrefix(keys) : undefined;
    if (prefix !== undefined)
      print(
        `The policy has lines for each of ${keys.length} keys, and changes with each cluster. With --key-prefix ${prefix} a few lines do for all keys that begin so, now and later; then the mount must be the fleet's own.`,
      );
    for (const line of nextSteps(role, policy.name)) print(line);
    if (conflicts.length > 0)
      throw new CliError(
        `${conflicts.filter(({ key }) => key !== undefined).length} of ${keys.length} keys are as they were (CONFLICT above); the rest is done`,
      );
  });
}

/** Adds `vault init`. */
export function addVaultCommands(root: Command, terminal: Terminal): void {
  const group = root.command("vault").description("the Vault or OpenBao behind the gateways");
  fleetOptions(group.command("init"))
    .description("make mount, keys, policy and login role for the registry's clusters; safe to run again")
    .option("--backend <name>", "which backend of the configuration (default: the only one of kind vault)")
    .option(
      "--key-prefix <prefix>",
      "keys whose names begin so share a few lines of the policy, whatever their number; the gateways may read and rotate every key of that mount",
    )
    .option(
      "--policy <name>",
      "name of the gateway's policy (default: claviger-gateway; with -BACKEND where several backends log in to one namespace)",
    )
    .option(
      "--role <name>",
      "name of the AppRole (default: as --policy; other logins name theirs in the configuration)",
    )
    .option("--auto-rotate <period>", "auto_rotate_period of every key, such as 720h", seconds)
    .option("--token-ttl <duration>", "of the gateway's tokens", seconds, 3600)
    .option("--token-max-ttl <duration>", "of the gateway's tokens", seconds, 86_400)
    .option("--service-account <name>", "kubernetes: the gateway's ServiceAccount", "claviger-gateway")
    .option("--service-account-namespace <name>", "kubernetes: its namespace", "claviger-gateway")
    .option("--audience <text>", "kubernetes, jwt: audience of the gateway's token")
    .option("--kubernetes-host <url>", "kubernetes: API server of the cluster that runs the gateway")
    .option("--kubernetes-ca <file>", "kubernetes: its CA, PEM")
    .option("--jwks-url <url>", "jwt: where the issuer's keys are")
    .option("--bound-subject <text>", "jwt: subject of the gateway's token")
    .option("--client-ca <file>", "cert: CA of the gateway's client certificate, PEM")
    .option("--allowed-dns-san <name...>", "cert: DNS names of the gateways' client certificates")
    .option("--allowed-uri-san <uri...>", "cert: URIs (SPIFFE ids) of the gateways' client certificates")
    .option("--secret-id-cidr <cidr...>", "approle: where secret-ids and tokens may come from")
    .option("--secret-id-ttl <duration>", "approle: how long a secret-id lives (default: without end)", seconds)
    .option("--yes", "also take rights from the policy that the registry does not need any more", false)
    .option("--update", "also change a policy or role that is there and differs", false)
    .option("--dry-run", "print what would be done and change nothing", false)
    .option("--json", "print JSON", false)
    .addOption(new Option("--print-policy", "print the policy and stop; asks no Vault").default(false))
    .addOption(
      new Option("--print-hcl", "print all of it for Terraform or OpenTofu and stop; asks no Vault")
        .default(false)
        .conflicts("printPolicy"),
    )
    .addOption(
      new Option("--print-operator-policies", "print policies for operators (rotate; retire; registry) and stop")
        .default(false)
        .conflicts(["printPolicy", "printHcl"]),
    )
    .action((options: InitOptions) => init(options, terminal));
}
