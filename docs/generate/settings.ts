// docs/reference/settings.md: every setting of gateway.yaml, shim.yaml, fleet.yaml and the registry, from the
// schemas that read them and the comments that stand above their keys.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ownSettings } from "../../gateway/fleet/src/config.ts";
import { approvalSettings } from "../../gateway/fleet/src/approvals/config.ts";
import { consoleSettings } from "../../gateway/fleet/src/pages/config.ts";
import { gatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { tokensSchema } from "@claviger/gateway-core/src/pki/node-tokens.ts";
import { clusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { z } from "@claviger/proto/runtime/config.ts";
import { environmentName, overrides, shimConfig } from "../../shim/src/config.ts";
import { code, page, table } from "./markdown.ts";
import { settingsTable, type Sources } from "./schema.ts";

const root = join(import.meta.dirname, "..", "..");

function sourcesOf(...files: readonly string[]): Sources {
  return Object.fromEntries(files.map((file) => [file, readFileSync(join(root, file), "utf8")]));
}

/** What a program prints for `--help`. */
function helpOf(main: string): string {
  const text = execFileSync(process.execPath, [join(root, main), "--help"], {
    encoding: "utf8",
    env: { COLUMNS: "100" },
  });
  return `\`\`\`text\n${text.trimEnd()}\n\`\`\``;
}

const intro = `All settings, with the defaults that hold when a key is absent. Unknown keys are refused, and every problem of a file is reported at once. \`[]\` stands for the items of a list, \`NAME\` for a name of your choosing;
a word in brackets after a setting names the \`kind\` that it belongs to. Durations are written as \`500ms\`, \`10s\`, \`5m\` or \`1h\`. Secrets are never settings: a setting that ends in \`File\` names the file that holds one.
A setting that is required within a section that may be absent is required where that section stands.`;

const core = "gateway/core/src";
const fleet = "gateway/fleet/src";
const shared = "proto/runtime/tracing.ts";

/** Where the settings of each configuration have their comments. */
export function gatewaySources(): Sources {
  return sourcesOf(
    `${core}/config.ts`,
    `${core}/audit/config.ts`,
    `${core}/backend/config.ts`,
    `${core}/key/integrity.ts`,
    `${core}/registry/labels.ts`,
    `${core}/redis/config.ts`,
    `${core}/registry/vault.ts`,
    shared,
  );
}
export function shimSources(): Sources {
  return sourcesOf("shim/src/config.ts", shared);
}
function ownFleetSources(): Sources {
  return sourcesOf(
    `${fleet}/config.ts`,
    `${fleet}/grants.ts`,
    `${fleet}/oidc/config.ts`,
    `${core}/pki/node-certificates.ts`,
    `${core}/registry/labels.ts`,
  );
}
/** By themselves: keys of one kind may stand in several. */
export function fleetSources(): readonly Sources[] {
  return [
    ownFleetSources(),
    sourcesOf(`${core}/pki/node-tokens.ts`),
    sourcesOf(`${fleet}/approvals/config.ts`),
    sourcesOf(`${fleet}/pages/config.ts`),
    gatewaySources(),
  ];
}
export function contextSources(): Sources {
  return { ...gatewaySources(), ...sourcesOf("gateway/cli/src/contexts.ts") };
}

export function settingsPage(): string {
  const environment = Object.entries(overrides).map(([flag, { path, help }]) => [
    code(`--${flag}`),
    code(environmentName(flag)),
    code(path.join(".")),
    help,
  ]);
  return page("Settings", intro, [
    "## gateway.yaml",
    settingsTable(gatewayConfig, gatewaySources()),
    "## shim.yaml",
    settingsTable(shimConfig, shimSources()),
    "### Flags and environment variables of the shim",
    "A flag counts before its environment variable, and that before the file.",
    table(["flag", "environment variable", "setting", "what"], environment),
    "## fleet.yaml",
    "`listen` (`address` and `port`), `admin`, `tls`, `trustDomain`, `registry`, `backends` (which may be absent), `audit` and `log` are as in gateway.yaml, and so are `redis` and `integrity`, by which what gateways know of nodes is read; without them it is not. Clients come with a certificate or, where a node enrolls, without one. Beside them:",
    settingsTable(ownSettings, ownFleetSources()),
    "Tokens with which nodes enroll:",
    settingsTable(z.strictObject({ tokens: tokensSchema }), sourcesOf(`${core}/pki/node-tokens.ts`)),
    "Changes that take a second administrator ([the rule](../control-plane.md#approvals-and-events)):",
    settingsTable(approvalSettings, sourcesOf(`${fleet}/approvals/config.ts`)),
    "The [console](../control-plane.md#console):",
    settingsTable(consoleSettings, sourcesOf(`${fleet}/pages/config.ts`)),
    "## Registry records",
    "The registry is a mapping with the one key `clusters`, a list of records. [Architecture](../architecture.md#registry) has the rules between one edit and the next.",
    settingsTable(clusterRecord, sourcesOf(`${core}/registry/record.ts`)),
    "## Programs",
    "### claviger-gateway",
    helpOf("gateway/server/src/main.ts"),
    "### claviger-fleet",
    helpOf("gateway/fleet/src/main.ts"),
    "### claviger-shim",
    helpOf("shim/src/main.ts"),
    "### claviger",
    helpOf("gateway/cli/src/main.ts"),
  ]);
}
