// `claviger key`: a cluster's key versions, with the operator's own credentials.
// (docs/architecture.md #keys and #rotation.)
import { setTimeout as sleep } from "node:timers/promises";
import type { KeyRef, KeyState, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { deriveKeyId, keyPath } from "@claviger/gateway-core/src/key/key-id.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { CliError, type Command, numberBetween, type Terminal } from "./commander.ts";
import { type FleetOptions, fleetOptions, openFleet } from "./fleet.ts";
import { keyOf } from "./registry-edit.ts";
import { formatTable } from "./table.ts";
import { addRetireCommands } from "./usage/retire-commands.ts";

const callMs = 10_000;

function call<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  return run(AbortSignal.timeout(callMs));
}

export type KeyReport = {
  readonly cluster: string;
  readonly state: ClusterRecord["state"];
  readonly rotation: ClusterRecord["rotation"];
  readonly backend: string;
  /** `mount/name`, after the namespace where there is one. */
  readonly key: string;
  readonly latest: number;
  /** 0: none yet. */
  readonly promoted: number;
  readonly minDecryption: number;
  /**
   * What apiservers see in Status once every gateway has read the key; absent while nothing is
   * promoted.
   */
  readonly keyId?: string;
  readonly versions: readonly { readonly version: number; readonly createdAt: string }[];
};

function reportOf(record: ClusterRecord, state: KeyState): KeyReport {
  const ref = keyOf(record);
  const createdAt = state.versions.get(state.minEncryption);
  return {
    cluster: record.name,
    state: record.state,
    rotation: record.rotation,
    backend: ref.backend,
    key: keyPath(ref),
    latest: state.latest,
    promoted: state.minEncryption,
    minDecryption: state.minDecryption,
    ...(createdAt === undefined
      ? {}
      : { keyId: deriveKeyId(record.uid, [{ ref, version: state.minEncryption, createdAt }]) }),
    versions: [...state.versions].map(([version, at]) => ({ version, createdAt: new Date(at * 1000).toISOString() })),
  };
}

function roleOf(report: KeyReport, version: number): string {
  if (version === report.promoted) return "encrypts";
  if (version < report.minDecryption) return "retired";
  return version > report.promoted ? "waits for promotion" : "decrypts";
}

function formatReport(report: KeyReport): string {
  return [
    `cluster   ${report.cluster} (${report.state}, rotation ${report.rotation})`,
    `key       ${report.backend}: ${report.key}`,
    `key_id    ${report.keyId ?? `none: no version is promoted yet; a gateway does it at first use, or: claviger key promote ${report.cluster}`}`,
    "",
    formatTable(
      ["VERSION", "CREATED", ""],
      report.versions.map(({ version, createdAt }) => [String(version), createdAt, roleOf(report, version)]),
    ),
  ].join("\n");
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

/** Waits until the gateways have promoted a version. */
async function waitForPromotion(backend: OpenBackend, key: KeyRef, version: number, timeoutMs: number): Promise<void> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const { minEncryption } = await call((signal) => backend.describe(key, signal));
    if (minEncryption >= version) return;
    if (performance.now() > end)
      throw new CliError(
        `version ${version} is not promoted after ${timeoutMs / 1000} s; is a gateway running? Its log has the result of its canary`,
      );
    await sleep(250);
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
    .action((cluster: string, options: FleetOptions & { readonly json: boolean }) =>
      openFleet(options, terminal).withKey(cluster, async (record, backend) => {
        const report = reportOf(record, await call((signal) => backend.describe(keyOf(record), signal)));
        terminal.out(options.json ? JSON.stringify(report, undefined, 2) : formatReport(report));
      }),
    );

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
    .action((cluster: string, options: RotateOptions) =>
      openFleet(options, terminal).withKey(cluster, async (record, backend) => {
        const key = keyOf(record);
        if (options.above !== undefined) {
          const made = await replaceLost(backend, key, options.above);
          terminal.out(`${cluster}: version ${made} encrypts from now on.`);
          return;
        }
        const version = await call((signal) => backend.rotate(key, signal));
        terminal.out(`${cluster}: ${key.backend}: ${keyPath(key)} has version ${version} now.`);
        if (record.rotation === "manual") {
          terminal.out(`rotation is manual: it encrypts once you run: claviger key promote ${cluster}`);
          return;
        }
        if (!options.wait) return;
        await waitForPromotion(backend, key, version, options.timeout * 1000);
        const { keyId } = reportOf(record, await call((signal) => backend.describe(key, signal)));
        terminal.out(
          `version ${version} encrypts; key_id ${keyId ?? "unknown"}. Each shim shows it after the gateways' next refresh.`,
        );
      }),
    );

  fleetOptions(group.command("promote"))
    .argument("<cluster>")
    .description("make the latest version the one that encrypts (sets min_encryption_version)")
    .action((cluster: string, options: FleetOptions) =>
      openFleet(options, terminal).withKey(cluster, async (record, backend) => {
        const { version, changed } = await promoteLatest(backend, keyOf(record));
        terminal.out(
          changed
            ? `${cluster}: version ${version} encrypts from now on.`
            : `${cluster}: version ${version} is the latest and encrypts already; nothing was changed.`,
        );
      }),
    );

  addRetireCommands(group, terminal);
}
