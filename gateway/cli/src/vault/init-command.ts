// `claviger vault init`: makes a Vault ready for gateways or for the fleet service, as their configuration and the
// registry say, and shows that the policy is tight.
import { parseDuration } from "@claviger/proto/runtime/duration.ts";
import { type Command, InvalidArgumentError, Option, type Terminal } from "../commander.ts";
import { fleetOptions } from "../target.ts";
import { initForFleet } from "./fleet-init.ts";
import { initForGateway } from "./gateway-init.ts";
import type { InitOptions } from "./init-role.ts";

function seconds(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms < 1000) throw new InvalidArgumentError("Must be a duration such as 30s, 20m or 720h.");
  return Math.round(ms / 1000);
}

function init(options: InitOptions, terminal: Terminal): Promise<void> {
  switch (options.for) {
    case "gateway":
      return initForGateway(options, terminal);
    case "fleet":
      return initForFleet(options, terminal);
  }
}

/** Adds `vault init`. */
export function addVaultCommands(root: Command, terminal: Terminal): void {
  const group = root.command("vault").description("the Vault or OpenBao behind the gateways");
  fleetOptions(group.command("init"))
    .description("make mount, keys, policy and login role for the registry's clusters; safe to run again")
    .addOption(
      new Option(
        "--for <program>",
        "whose mounts, policy and login role; fleet reads the fleet service's configuration",
      )
        .choices(["gateway", "fleet"])
        .default("gateway"),
    )
    .option("--backend <name>", "which backend of the configuration (default: the only one of kind vault)")
    .option(
      "--key-prefix <prefix>",
      "keys whose names begin so share a few lines of the policy, whatever their number; its holder may read and rotate every key of that mount",
    )
    .option(
      "--policy <name>",
      "name of the policy (default: claviger-gateway or claviger-fleet; with -BACKEND where several backends log in to one namespace)",
    )
    .option(
      "--role <name>",
      "name of the AppRole (default: as --policy; other logins name theirs in the configuration)",
    )
    .option("--auto-rotate <period>", "auto_rotate_period of every key, such as 720h", seconds)
    .option("--token-ttl <duration>", "of the login's tokens", seconds, 3600)
    .option("--token-max-ttl <duration>", "of the login's tokens", seconds, 86_400)
    .option("--service-account <name>", "kubernetes: its ServiceAccount (default: claviger-gateway or claviger-fleet)")
    .option("--service-account-namespace <name>", "kubernetes: its namespace (default: of the same name)")
    .option("--audience <text>", "kubernetes, jwt: audience of its token")
    .option("--kubernetes-host <url>", "kubernetes: API server of the cluster that it runs in")
    .option("--kubernetes-ca <file>", "kubernetes: its CA, PEM")
    .option("--jwks-url <url>", "jwt: where the issuer's keys are")
    .option("--bound-subject <text>", "jwt: subject of its token")
    .option("--client-ca <file>", "cert: CA of its client certificate, PEM")
    .option("--allowed-dns-san <name...>", "cert: DNS names of its client certificates")
    .option("--allowed-uri-san <uri...>", "cert: URIs (SPIFFE ids) of its client certificates")
    .option("--secret-id-cidr <cidr...>", "approle: where secret-ids and tokens may come from")
    .option("--secret-id-ttl <duration>", "approle: how long a secret-id lives (default: without end)", seconds)
    .addOption(
      new Option("--pki-root", "fleet: make a CA for nodes in Vault, where its PKI has none").conflicts("pkiCsr"),
    )
    .option("--pki-csr <file>", "fleet: write the request for a CA of nodes, whose key stays in Vault, to this file")
    .option("--with-retire", "fleet: let it retire versions of keys, and bring them back", false)
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
