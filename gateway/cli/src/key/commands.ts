// `claviger key`: a cluster's key versions, through the fleet service or with the operator's own token.
// (docs/architecture.md #keys and #rotation.)
import { setTimeout as sleep } from "node:timers/promises";
import { type ClusterKeys, ClusterKeysSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { CliError, type Command, Exit, numberBetween, type Terminal, wholeNumberBetween } from "../commander.ts";
import { withFleetService } from "../fleet-client.ts";
import { keyIntervalOf } from "../gateway-word.ts";
import { parseSelector } from "../labels.ts";
import { sayIncomplete } from "../node-view-commands.ts";
import { messageJson, outputOptionWithJson, type OutputOptions, printOne, printRows } from "../output.ts";
import { changeOptions, isThroughService, siteOptions, type SiteOptions } from "../site.ts";
import { addRetireCommands } from "../usage/retire-commands.ts";
import { type KeyEditor, withKeys } from "./editor.ts";
import { formatKeys, keyColumns, keyOfText, refreshOf } from "./report.ts";

type StatusOptions = SiteOptions & OutputOptions & { readonly selector?: string };
type ChangeOptions = SiteOptions & { readonly dryRun: boolean };
type RotateOptions = ChangeOptions & { readonly above?: number; readonly wait: boolean; readonly timeout: number };

const json = messageJson(ClusterKeysSchema);
/** Each costs the service a call to the key's backend. */
const pageSize = 100;

async function status(cluster: string, options: StatusOptions, terminal: Terminal): Promise<void> {
  await withKeys(cluster, options, terminal, async (editor) => {
    const { fleet } = editor;
    const [keys, heard] = await Promise.all([editor.keys(), fleet && keyIntervalOf(fleet.gateways)]);
    if (fleet === undefined) {
      printOne(terminal, options, { value: json(keys), text: () => formatKeys(keys) });
      return sayIncomplete(terminal, keys.incomplete);
    }
    const refresh = refreshOf(heard, fleet.config.keys?.refresh);
    return printOne(terminal, options, {
      value: { ...(json(keys) as object), ...(refresh !== undefined && { refresh }) },
      text: () => formatKeys(keys, refresh),
    });
  });
}

async function statusOfAll(options: StatusOptions, terminal: Terminal): Promise<void> {
  if (!isThroughService(options, terminal)) {
    terminal.err("error: missing required argument 'cluster': the keys of all clusters takes a fleet service");
    throw new Exit(2);
  }
  const { selector = "" } = options;
  parseSelector(selector);
  const rows: ClusterKeys[] = [];
  await withFleetService(options, terminal, async (client) => {
    for (let pageToken: string | undefined = ""; pageToken !== undefined; ) {
      const page = await client.listKeys({ selector, pageSize, pageToken });
      rows.push(...page.keys);
      pageToken = page.nextPageToken === "" ? undefined : page.nextPageToken;
    }
  });
  printRows(terminal, options, { rows, columns: keyColumns, json, none: "there is no such cluster" });
  sayIncomplete(terminal, rows.find(({ incomplete }) => incomplete !== "")?.incomplete ?? "");
}

const pollMs = 250;
const sayMs = 5000;

function inSeconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}

/** Waits until the gateways have promoted a version, and says so now and then. */
async function waitForPromotion(
  editor: KeyEditor,
  version: number,
  { timeoutMs, say }: { readonly timeoutMs: number; readonly say: (line: string) => void },
): Promise<ClusterKeys> {
  const start = performance.now();
  let saidAt = Number.NEGATIVE_INFINITY;
  for (;;) {
    const keys = await editor.keys();
    if (keys.promoted >= version) return keys;
    const waited = performance.now() - start;
    if (waited > timeoutMs)
      throw new CliError(
        `version ${version} is not promoted after ${inSeconds(timeoutMs)}; is a gateway running? Its log has the result of its canary`,
      );
    if (waited - saidAt >= sayMs) {
      const now = keys.promoted === 0 ? "none encrypts yet" : `version ${keys.promoted} encrypts`;
      say(
        `waiting for a gateway to promote version ${version}; ${now} (${inSeconds(waited)} of ${inSeconds(timeoutMs)})`,
      );
      saidAt = waited;
    }
    await sleep(pollMs);
  }
}

async function rotate(cluster: string, options: RotateOptions, terminal: Terminal): Promise<void> {
  const { above = 0, wait, timeout, dryRun } = options;
  await withKeys(cluster, options, terminal, async (editor) => {
    if (dryRun) {
      const keys = await editor.keys();
      const next = Math.max(keys.latest, above) + 1;
      return terminal.out(
        `${cluster}: ${keyOfText(keys)} would have version ${next}; nothing was changed (--dry-run).`,
      );
    }
    const { keys, version } = await editor.rotate(above);
    if (above > 0) return terminal.out(`${cluster}: version ${version} encrypts from now on.`);
    terminal.out(`${cluster}: ${keyOfText(keys)} has version ${version} now.`);
    if (keys.rotation === "manual")
      return terminal.out(`rotation is manual: it encrypts once you run: claviger key promote ${cluster}`);
    if (!wait) return;
    const { keyId } = await waitForPromotion(editor, version, { timeoutMs: timeout * 1000, say: terminal.err });
    return terminal.out(
      `version ${version} encrypts; key_id ${keyId === "" ? "unknown" : keyId}. Each shim shows it after the gateways' next refresh.`,
    );
  });
}

async function promote(cluster: string, options: ChangeOptions, terminal: Terminal): Promise<void> {
  await withKeys(cluster, options, terminal, async (editor) => {
    if (options.dryRun) {
      const { promoted, latest } = await editor.keys();
      const is = promoted === latest ? `${latest} is the latest and encrypts already` : `${latest} would encrypt`;
      return terminal.out(`${cluster}: version ${is}; nothing was changed (--dry-run).`);
    }
    const { keys, changed } = await editor.promote();
    return terminal.out(
      changed
        ? `${cluster}: version ${keys.promoted} encrypts from now on.`
        : `${cluster}: version ${keys.promoted} is the latest and encrypts already; nothing was changed.`,
    );
  });
}

/** Adds the group. */
export function addKeyCommands(root: Command, terminal: Terminal): void {
  const group = root
    .command("key")
    .description("clusters' keys (through the fleet service, or with your own Vault token)");

  outputOptionWithJson(siteOptions(group.command("status")))
    .argument("[cluster]", "of all clusters where it is absent, which takes a fleet service")
    .description("show its versions, which one encrypts, and the key_id")
    .option("-l, --selector <selector>", "of all clusters: only those whose labels match, as for kubectl")
    .action((cluster: string | undefined, options: StatusOptions) =>
      cluster === undefined ? statusOfAll(options, terminal) : status(cluster, options, terminal),
    );

  changeOptions(group.command("rotate"))
    .argument("<cluster>")
    .description("make a new version; with rotation 'auto' the gateways try it out and promote it")
    .option(
      "--above <version>",
      "after a restored backup: until it is above this lost one, and promote it",
      wholeNumberBetween(1, 1_000_000),
    )
    .option("--wait", "wait until it is the one that encrypts", false)
    .option("--timeout <seconds>", "of --wait", numberBetween(1, 3600), 60)
    .action((cluster: string, options: RotateOptions) => rotate(cluster, options, terminal));

  changeOptions(group.command("promote"))
    .argument("<cluster>")
    .description("make the latest version the one that encrypts (sets min_encryption_version)")
    .action((cluster: string, options: ChangeOptions) => promote(cluster, options, terminal));

  addRetireCommands(group, terminal);
}
