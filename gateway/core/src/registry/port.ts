// The registry as a gateway asks it: which cluster uses which keys. Where it lies is the adapters'
// matter: a file, a directory of files, documents in a Vault. (docs/architecture.md #registry.)
import type { ClusterName } from "@claviger/proto/wire/names.ts";
import type { KeyRef } from "../backend/port.ts";
import type { ClusterRecord } from "./record.ts";

/**
 * Which cluster uses which keys, as of the last good read. A record that is bad keeps its own last good
 * state and holds up no other.
 */
export interface RegistryStore {
  /**
   * The record of a cluster, or undefined when there is none. Never waits.
   * @throws KmsError backend_unavailable while it could not be read yet, or where it is bad and none was
   * good before
   */
  readonly get: (name: ClusterName) => ClusterRecord | undefined;
  /**
   * Undefined where `get` answers with what is known now; else a promise for the moment when it does,
   * within some seconds. Never rejects.
   */
  readonly load: (name: ClusterName) => Promise<void> | undefined;
  /** The records that are known by now. */
  readonly known: () => readonly ClusterRecord[];
  /** The clusters that encrypt with this key, of those that are known by now. */
  readonly using: (key: KeyRef) => readonly ClusterRecord[];
  /** What is in force, in one word that can be compared (isInForce); undefined before the first read. */
  readonly version: () => string | undefined;
  /** What is wrong with the newest edit, or undefined while it is the one in use. */
  readonly problem: () => string | undefined;
  /**
   * Reads again what may have changed: a read that begins after this call, soon. Never rejects.
   * @param name a cluster whose record is read in any case
   */
  readonly refresh: (name?: ClusterName) => Promise<void>;
  readonly close: () => void;
}

/** How a registry fares, in numbers. */
export type RegistryNumbers = {
  /** The records that are known by now. */
  readonly clusters: number;
  /** What is wrong with the newest edits: a record that is bad counts once for each of its problems. */
  readonly problems: number;
  /** When it was read last and nothing was wrong with it as a whole, Unix seconds. */
  readonly goodAt?: number;
  /** The number of the last edit in force, where its writers count them. */
  readonly edit?: number;
};

/** For whoever needs all clusters, as no gateway does. */
export interface WholeRegistry extends RegistryStore {
  readonly numbers: () => RegistryNumbers;
  /**
   * Reads what `load` would read for each cluster, and from now on what is new as well: `known` is then
   * everything. Later calls read nothing; one in some minutes begins to read all of it again, since writers
   * may have left no news.
   * @throws KmsError backend_unavailable where not all could be read yet, ConfigError where there is no
   * registry, or none of any use
   */
  readonly loadAll: () => Promise<void>;
}

const indexWord = /^index:(\d+)$/;

/** The version of a registry whose writers count their edits. */
export function indexVersion(sequence: number): string {
  return `index:${sequence}`;
}

/** Are these versions of registries of one kind, of which one can be the other's? */
export function isOneKind(wanted: string, named: string): boolean {
  return indexWord.test(wanted) === indexWord.test(named);
}

/**
 * Does a gateway that names the one version have the other one in force? Edits that are counted go up;
 * of a digest only the same one will do.
 */
export function isInForce(wanted: string, named: string | undefined): boolean {
  const [ours, theirs] = [indexWord.exec(wanted)?.[1], indexWord.exec(named ?? "")?.[1]];
  return ours === undefined || theirs === undefined ? wanted === named : Number(theirs) >= Number(ours);
}
