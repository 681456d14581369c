// Takes versions of a key out of use once nothing needs them, and takes that back when something
// turns out to. (docs/architecture.md #rotation.)
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { refId } from "@claviger/gateway-core/src/key/key-id.ts";
import type { Observation } from "@claviger/gateway-core/src/redis/observations.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import { CliError, type Terminal } from "../commander.ts";
import type { Fleet } from "../fleet.ts";
import { keyOf } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { countedOf, namesIn, usersOf } from "@claviger/gateway-core/src/retirement/look.ts";
import {
  type Counted,
  type Nodes,
  reasonsAgainst,
  type Retirement,
} from "@claviger/gateway-core/src/retirement/reasons.ts";
import { countUsage } from "./count.ts";
import { readClusterObservations } from "./observations.ts";
import { createProgress } from "./progress.ts";

import { byCluster, entriesOf, parseSources, type SourceOptions, withContextEtcds } from "./sources.ts";

export type RetireOptions = SourceOptions & {
  readonly before?: number;
  readonly nodes?: readonly string[];
  readonly nodesChecked: boolean;
  readonly snapshotsChecked: boolean;
  readonly otherKey?: readonly string[];
  readonly quiet: number;
  readonly yes: boolean;
  readonly dryRun?: boolean;
};

const callMs = 10_000;
function signal(): AbortSignal {
  return AbortSignal.timeout(callMs);
}

function nodesOf(
  { name }: ClusterRecord,
  { nodesChecked }: RetireOptions,
  expected: ReadonlyMap<string, readonly string[]>,
  entries: ReadonlyMap<string, readonly Observation[]> | undefined,
): Nodes {
  if (nodesChecked) return { kind: "checked", entries: entries?.get(name) ?? [] };
  if (entries === undefined) return { kind: "blind" };
  const count = expected.get(name)?.at(-1);
  if (count === undefined) return { kind: "unknown" };
  if (!/^[1-9]\d{0,3}$/.test(count)) throw new CliError(`--nodes ${count} is not a number of nodes`);
  return { kind: "observations", expected: Number(count), entries: entries.get(name) ?? [] };
}

/** `claviger key retire` for a cluster's key. @throws CliError with every reason against it */
export async function retire(
  fleet: Fleet,
  record: ClusterRecord,
  backend: OpenBackend,
  options: RetireOptions,
  terminal: Terminal,
): Promise<void> {
  const ref = keyOf(record);
  const place = { ref, backends: fleet.config.backends };
  const users = usersOf((await fleet.registry.all()).values(), place);
  const names = namesIn(users, place);
  const where = withContextEtcds(
    options,
    fleet.etcd,
    users.map((user) => user.name),
    record.name,
  );
  const sources = parseSources(where, record.name);
  for (const name of sources.keys())
    if (!users.some((user) => user.name === name))
      throw new CliError(`--etcd ${name}=…: cluster ${name} does not use the key of ${record.name}`);
  const state = await backend.describe(ref, signal());
  const before = options.before ?? state.minEncryption;
  if (before <= state.minDecryption) {
    terminal.out(`${record.name}: no version below ${before} of ${refId(ref)} decrypts; nothing was changed.`);
    return;
  }
  const onProgress = createProgress(terminal.err);
  const { redis } = fleet.config;
  let blindness: string | undefined = redis === undefined ? `${fleet.name} names no Redis` : undefined;
  const look = async (): Promise<Retirement> => {
    const entries = await readClusterObservations(fleet, users).catch((error: unknown) => {
      // Where the operator has looked, missing observations neither prove nor hinder anything.
      if (!options.nodesChecked) throw error;
      blindness = error instanceof Error ? error.message : "unknown error";
      return undefined;
    });
    const expected = byCluster(options.nodes ?? [], record.name);
    const clusters: Counted[] = [];
    for (const user of users) {
      const own = sources.get(user.name);
      const known = {
        usage: own === undefined ? undefined : await countUsage(entriesOf(own, options, onProgress), options.prefix),
        isFromSnapshot: own?.some(({ kind }) => kind === "snapshot") ?? false,
        nodes: nodesOf(user, options, expected, entries),
      };
      clusters.push(countedOf(user, place, { state, before }, known));
    }
    return {
      names,
      state,
      before,
      clusters,
      otherKeys: new Set(options.otherKey),
      backends: new Set(Object.keys(fleet.config.backends)),
      areSnapshotsChecked: options.snapshotsChecked,
      quietMs: options.quiet,
      now: Date.now(),
    };
  };
  const reasons = reasonsAgainst(await look());
  if (reasons.length > 0)
    throw new CliError([`the versions below ${before} of ${refId(ref)} are not retired:`, ...reasons].join("\n  - "));
  if (blindness !== undefined)
    terminal.err(
      `Not known: whether a node still decrypts under an earlier key_id (${blindness}). You have said --nodes-checked.`,
    );
  const what = `the versions ${state.minDecryption} to ${before - 1} of ${refId(ref)}`;
  const remains =
    "What an etcd backup from before needs, only 'claviger key unretire' brings back; the key material stays in Vault.";
  if (!options.yes || options.dryRun === true) {
    terminal.out(
      `Nothing needs ${what}: no object in the etcds named, and every node has the new key_id.\n${remains}\nNothing was changed. To retire them, run this again with --yes.`,
    );
    return;
  }
  await backend.setMinDecryption(ref, before, signal());
  // Whoever wrote while we counted had an old seed: look again, and take it back.
  const lookAgain = async (): Promise<readonly string[]> => {
    try {
      return reasonsAgainst(await look());
    } catch (error) {
      return [`it could not be counted again: ${error instanceof Error ? error.message : "unknown error"}`];
    }
  };
  const late = await lookAgain();
  if (late.length > 0) {
    const undone = await backend.setMinDecryption(ref, state.minDecryption, signal()).then(
      () => "and took it back at once",
      () => `and COULD NOT TAKE IT BACK: run claviger key unretire ${record.name} --from ${state.minDecryption}`,
    );
    throw new CliError([`retired ${what}, ${undone}:`, ...late].join("\n  - "));
  }
  terminal.out(`${record.name}: retired ${what}; they decrypt nothing any more.\n${remains}`);
}
