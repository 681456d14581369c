// The clusters as commands see and change them: through the fleet service, or in the registry itself.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  Cluster,
  ClusterSchema,
  UpdateClusterRequestSchema,
} from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import type { NodeTarget } from "@claviger/gateway-core/src/registry/edit/nodes.ts";

/** What goes with every change. */
export type How = {
  /** Checks everything and changes nothing. */
  readonly dryRun: boolean;
  /** The etag that the caller saw; absent for any. */
  readonly ifEtag?: string | undefined;
};

/** What a change led to; the version is empty where nothing was written. */
export type Changed = { readonly cluster: Cluster; readonly version: string };

export type Update = Pick<
  MessageInitShape<typeof UpdateClusterRequestSchema>,
  "setLabels" | "removeLabels" | "requestsPerSecond" | "rotation" | "expectedNodes" | "anyNode"
>;

export type ClusterInit = MessageInitShape<typeof ClusterSchema>;

/** Names of what is new, and of what was there. */
export type Imported = {
  readonly added: readonly ImportedCluster[];
  readonly present: readonly ImportedCluster[];
  readonly version: string;
};
export type ImportedCluster = { readonly name: string; readonly uid: string };

/** Where keys of clusters can be, as far as it is known. */
export type KeyPlaces = {
  readonly backends: readonly string[];
  /** The mounts of a backend that are in use. */
  readonly mountsOf: (backend: string) => readonly string[];
  /** What messages say of a place that is not known. */
  readonly unknown: string;
};

/** Errors: CliError, EditError and ConfigError, in words. */
export interface ClusterEditor {
  /** What messages call the registry, or the service. */
  readonly where: string;
  /** Those whose labels match. @param selector as kubectl's -l; empty for all */
  list(selector: string): Promise<{ readonly clusters: readonly Cluster[]; readonly problem: string }>;
  get(name: string): Promise<Cluster>;
  places(): Promise<KeyPlaces>;
  add(cluster: ClusterInit, how: How): Promise<Changed>;
  update(name: string, update: Update, how: How): Promise<Changed>;
  /** Refuses a node, or certificates by their serial numbers, or takes that back. */
  nodes(name: string, verb: "revoke" | "allow", target: NodeTarget, how: How): Promise<Changed>;
  setState(name: string, state: Cluster["state"], how: How): Promise<Changed>;
  /** @param force also one that is not suspended */
  remove(name: string, force: boolean, how: How): Promise<Changed>;
  /**
   * Adds those of a text, as `cluster export` prints it, that are not there: all of them, or none.
   * @param source what messages call the text
   * @param restore also those that were removed
   */
  importText(options: {
    readonly source: string;
    readonly text: string;
    readonly dryRun: boolean;
    readonly restore: boolean;
  }): Promise<Imported>;
}
