// `claviger key`: a cluster's key versions, with the operator's own credentials.
// (docs/architecture.md #keys and #rotation.)
import { setTimeout as sleep } from "node:timers/promises";
import type { KeyRef, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import { CliError, type Command, numberBetween, type Terminal } from "./commander.ts";
import { openFleet } from "./fleet.ts";
import { type FleetOptions, fleetOptions } from "./target.ts";
import { keyIntervalOf } from "./gateway-word.ts";
import { formatReport, refreshOf, reportOf } from "./key-report.ts";
import { keyOf } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { addRetireCommands } from "./usage/retire-commands.ts";

const callMs = 10_000;

function call<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  return run(AbortSignal.timeout(callMs));
}

/** As many versions as a gateway makes of its own accord. */
const maxLost = 100;

/**
 * Makes the newest version the one that encrypts, and looks before and after as every promoter
 * does: Transit has no check-and-set.
 */
async function promoteLatest(
  backend: OpenBackend,
  key: KeyRef,
): Promise<{ readonly version: number; readonly changed: boolean }> {
  const before = await call((signal) => backend.describe(key, signal));
  if (before.minEncryption === before.latest) return { version: before.latest, changed: false };
  await call((signal) => backend.promote(key, before.latest, signal));
  const after = await call((signal) => backend.describe(key, signal));
  if (after.minEncryption < before.latest)
    throw new CliError("an older version was set at the same time; run this again");
  return { version: after.minEncryption, changed: true };
}

/**
 * Makes versions until the newest is above one that a restored backend has lost, and has that one
 * encrypt: no key_id that was ever shown comes back.
 */
async function replaceLost(backend: OpenBackend, key: KeyRef, lost: number): Promise<number> {
  const { latest } = await call((signal) => backend.describe(key, signal));
  if (lost - latest >= maxLost)
    throw new CliError(
      `the newest version is ${latest}, more than ${maxLost} below ${lost}; raise the cluster's generation in the registry instead`,
    );
  for (let version = latest; version <= lost; ) version = await call((signal) => backend.rotate(key, signal));
  return (await promoteLatest(backend, key)).version;
}

const pollMs = 250;
const sayMs = 5000;

function inSeconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}

/** Waits until the gateways have promoted a version, and says so now and then. */
async function waitForPromotion(
  backend: OpenBackend,
  key: KeyRef,
  version: number,
  { timeoutMs, say }: { readonly timeoutMs: number; readonly say: (line: string) => void },
): Promise<void> {
  const start = performance.now();
  let saidAt = Number.NEGATIVE_INFINITY;
  for (;;) {
    const { minEncryption } = await call((signal) => backend.describe(key, signal));
    if (minEncryption >= version) return;
    const waited = performance.now() - start;
    if (waited > timeoutMs)
      throw new CliError(
        `version ${version} is not promoted after ${inSeconds(timeoutMs)}; is a gateway running? Its log has the result of its canary`,
      );
    if (waited - saidAt >= sayMs) {
      const now = minEncryption === 0 ? "none encrypts yet" : `version ${minEncryption} encrypts`;
      say(
        `waiting for a gateway to promote version ${version}; ${now} (${inSeconds(waited)} of ${inSeconds(timeoutMs)})`,
      );
      saidAt = waited;
    }
    await sleep(pollMs);
  }
}

type RotateOptions = FleetOptions & { readonly above?: number; readonly wait: boolean; readonly timeout: number };

/** Adds the group. */
export function addKeyCommands(root: Command, terminal: Terminal): void {
  const group = root
    .command("key")
    .description("a cluster's key (with your own Vault token: VAULT_TOKEN or ~/.vault-token)");

  fleetOptions(group.command("status"))
    .argument("<cluster>")
    .description("show its versions, which one encrypts, and the key_id")
    .option("--json", "print JSON", false)
    .action(async (cluster: string, options: FleetOptions & { readonly json: boolean }) => {
      const fleet = openFleet(options, terminal);
      await fleet.withKey(cluster, async (record, backend) => {
        const [state, heard] = await Promise.all([
          call((signal) => backend.describe(keyOf(record), signal)),
          keyIntervalOf(fleet.gateways),
        ]);
        const report = reportOf(record, state, refreshOf(heard, fleet.config.keys?.refresh));
        terminal.out(options.json ? JSON.stringify(report, undefined, 2) : formatReport(report));
      });
    });

  fleetOptions(group.command("rotate"))
    .argument("<cluster>")
    .description("make a new version; with rotation 'auto' the gateways try it out and promote it")
    .option(
      "--above <version>",
      "after a restored backup: until it is above this lost one, and promote it",
      numberBetween(1, 1_000_000),
    )
    .option("--wait", "wait until it is the one that encrypts", false)
    .option("--timeout <seconds>", "of --wait", numberBetween(1, 3600), 60)
    .action((cluster: string, options: RotateOptions) => {
      const fleet = openFleet(options, terminal);
      return fleet.withKey(cluster, async (record, backend) => {
        const key = keyOf(record);
        if (options.above !== undefined) {
          const made = await replaceLost(backend, key, options.above);
          await fleet.announceKey(key);
          terminal.out(`${cluster}: version ${made} encrypts from now on.`);
          return;
        }
        const version = await call((signal) => backend.rotate(key, signal));
        await fleet.announceKey(key);
        terminal.out(`${cluster}: ${key.backend}: ${keyPath(key)} has version ${version} now.`);
        if (record.rotation === "manual") {
          terminal.out(`rotation is manual: it encrypts once you run: claviger key promote ${cluster}`);
          return;
        }
        if (!options.wait) return;
        await waitForPromotion(backend, key, version, { timeoutMs: options.timeout * 1000, say: terminal.err });
        const { keyId } = reportOf(record, await call((signal) => backend.describe(key, signal)));
        terminal.out(
          `version ${version} encrypts; key_id ${keyId ?? "unknown"}. Each shim shows it after the gateways' next refresh.`,
        );
      });
    });

  fleetOptions(group.command("promote"))
    .argument("<cluster>")
    .description("make the latest version the one that encrypts (sets min_encryption_version)")
    .action((cluster: string, options: FleetOptions) => {
      const fleet = openFleet(options, terminal);
      return fleet.withKey(cluster, async (record, backend) => {
        const key = keyOf(record);
        const { version, changed } = await promoteLatest(backend, key);
        await fleet.announceKey(key);
        terminal.out(
          changed
            ? `${cluster}: version ${version} encrypts from now on.`
            : `${cluster}: version ${version} is the latest and encrypts already; nothing was changed.`,
        );
      });
    });

  addRetireCommands(group, terminal);
}
