// What can be done from a page: who may, what it does in words, the call, and the same as a command.
import type { Api } from "../api/client.ts";
import type { Approval, Cluster, ClusterKeys, Node } from "../api/json.ts";
import { command } from "./command.ts";
import { parseLabelEdits } from "./label-edits.ts";
import type { Role } from "./role.ts";

export type Action = {
  readonly title: string;
  readonly button: string;
  readonly need: Role;
  /** What it does, in sentences. */
  readonly effects: readonly string[];
  /** It stops something, or cannot simply be undone. */
  readonly isGrave: boolean;
  /** Does the record want a reason? */
  readonly hasReason: boolean;
  /** What has to be filled in beside the reason. */
  readonly field?: { readonly label: string; readonly help: string; readonly initial: string };
  readonly command: (reason: string, field: string) => string;
  /** Absent where a browser cannot do it. Rejects with ApiError, or with a RangeError for a field that says nothing. */
  readonly run?: (api: Api, reason: string, field: string) => Promise<unknown>;
  /** What is said afterwards. */
  readonly done: string;
};

type Settings = Omit<Action, "isGrave" | "hasReason" | "command"> & {
  readonly isGrave?: boolean;
  readonly words: (field: string) => readonly string[];
};

function withReason({ words, isGrave = false, ...rest }: Settings): Action {
  return { ...rest, isGrave, hasReason: true, command: (reason, field) => command(words(field), reason) };
}

function suspend(name: string): Action {
  return withReason({
    title: `Suspend ${name}`,
    button: "Suspend",
    need: "operator",
    isGrave: true,
    effects: [
      "Every gateway refuses each call of this cluster within a second, on open connections too.",
      "Its kube-apiservers stop writing what is encrypted within minutes; one that restarts can read nothing encrypted.",
      "To resume it takes an administrator.",
    ],
    words: () => ["cluster", "suspend", name],
    run: (api, reason) => api.call("setClusterState", { name, state: "suspended", reason }),
    done: `${name} is suspended`,
  });
}

function decryptOnly(name: string, state: string): Action {
  return withReason({
    title: `Decrypt only for ${name}`,
    button: "Decrypt only",
    need: state === "suspended" ? "admin" : "operator",
    isGrave: state === "active",
    effects: [
      state === "suspended"
        ? "Gateways decrypt for this cluster again; they go on refusing Encrypt and Status."
        : "Gateways go on decrypting for this cluster, and refuse Encrypt and Status.",
      "Its kube-apiservers go on reading; one that restarts reads nothing encrypted until the cluster is active again.",
    ],
    words: () => ["cluster", "decrypt-only", name],
    run: (api, reason) => api.call("setClusterState", { name, state: "decrypt-only", reason }),
    done: `${name} may only decrypt`,
  });
}

function resume(name: string): Action {
  return withReason({
    title: `Resume ${name}`,
    button: "Resume",
    need: "admin",
    effects: ["Every gateway serves this cluster again within a second: Encrypt, Decrypt and Status."],
    words: () => ["cluster", "resume", name],
    run: (api, reason) => api.call("setClusterState", { name, state: "active", reason }),
    done: `${name} is active`,
  });
}

function label(name: string): Action {
  return withReason({
    title: `Change labels of ${name}`,
    button: "Change labels",
    need: "operator",
    effects: ["Labels decide which gateways serve the cluster, and who may see and change it."],
    field: { label: "Labels", help: "KEY=VALUE to set, KEY- to take away; with spaces between them", initial: "" },
    words: (field) => ["cluster", "label", name, ...field.split(/\s+/).filter((word) => word !== ""), "--overwrite"],
    run: async (api, reason, field) => {
      const { set, remove } = parseLabelEdits(field);
      return await api.call("updateCluster", { name, setLabels: set, removeLabels: remove, reason });
    },
    done: `The labels of ${name} are changed`,
  });
}

/** For a cluster in its state. */
export function clusterActions({ name = "", state = "" }: Cluster): readonly Action[] {
  return [
    ...(state === "suspended" ? [] : [suspend(name)]),
    ...(state === "decrypt-only" ? [] : [decryptOnly(name, state)]),
    ...(state === "active" ? [] : [resume(name)]),
    label(name),
  ];
}

function rotate(name: string, place: string, rotation: string): Action {
  return withReason({
    title: `Rotate the key of ${name}`,
    button: "Rotate",
    need: "operator",
    effects: [
      `Vault makes a new version of ${place}. Every cluster with this key gets it.`,
      rotation === "manual"
        ? "It encrypts nothing before it is promoted."
        : "A gateway tries it and promotes it; the nodes show the new key_id within the refresh interval.",
      "Earlier versions go on decrypting.",
    ],
    words: () => ["key", "rotate", name],
    run: (api, reason) => api.call("rotateKey", { name, reason }),
    done: `The key of ${name} has a new version`,
  });
}

function promote(name: string, latest: number): Action {
  return withReason({
    title: `Promote version ${latest} of the key of ${name}`,
    button: "Promote",
    need: "operator",
    effects: [
      `Version ${latest} encrypts from now on, on every gateway; Vault refuses to encrypt under an earlier one.`,
      "Earlier versions go on decrypting. There is no way back to one of them.",
    ],
    words: () => ["key", "promote", name],
    run: (api, reason) => api.call("promoteKey", { name, reason }),
    done: `Version ${latest} of the key of ${name} encrypts`,
  });
}

function retire(name: string, promoted: number): Action {
  return withReason({
    title: `Retire earlier versions of the key of ${name}`,
    button: "Retire",
    need: "admin",
    isGrave: true,
    effects: [
      `Versions below ${promoted} decrypt nothing any more; nothing is destroyed.`,
      "The objects in etcd that need them must be counted first, and a browser does not reach etcd: run the command where etcd can be reached.",
    ],
    words: () => ["key", "retire", name, "--etcd", "https://ETCD:2379", "--yes"],
    done: "",
  });
}

function unretire(name: string, from: number): Action {
  return withReason({
    title: `Unretire versions of the key of ${name}`,
    button: "Unretire",
    need: "admin",
    effects: ["The versions from this one on decrypt again: for what only an earlier backup of etcd needs."],
    field: { label: "From version", help: `1 to ${from - 1}`, initial: String(from - 1) },
    words: (field) => ["key", "unretire", name, "--from", field],
    run: (api, reason, field) => {
      const fromVersion = Number(field);
      if (!Number.isInteger(fromVersion) || fromVersion < 1 || fromVersion >= from)
        throw new RangeError(`the version must be a number from 1 to ${from - 1}`);
      return api.call("unretireKey", { name, fromVersion, reason });
    },
    done: `Versions of the key of ${name} decrypt again`,
  });
}

/** For a key as it is. Nothing is offered while that is not known: there may be none that the caller may see. */
export function keyActions(name: string, keys: ClusterKeys | undefined): readonly Action[] {
  if (keys === undefined) return [];
  const { key, rotation = "", latest = 0, promoted = 0, minDecryptionVersion = 0 } = keys;
  const place = key === undefined ? "the key" : `${key.mount ?? ""}/${key.key ?? ""}`;
  return [
    rotate(name, place, rotation),
    ...(promoted < latest && promoted > 0 ? [promote(name, latest)] : []),
    ...(promoted > Math.max(1, minDecryptionVersion) ? [retire(name, promoted)] : []),
    ...(minDecryptionVersion > 1 ? [unretire(name, minDecryptionVersion)] : []),
  ];
}

export function nodeActions({ cluster = "", node = "", revoked = false }: Node): readonly Action[] {
  const name = `${cluster}/${node}`;
  if (revoked)
    return [
      withReason({
        title: `Allow again: ${name}`,
        button: "Allow again",
        need: "admin",
        effects: [
          "Gateways take certificates of this name again within a second. Serial numbers that the record refuses stay refused.",
        ],
        words: () => ["node", "allow", name],
        run: (api, reason) => api.call("allowNode", { cluster, node, reason }),
        done: `${name} is allowed again`,
      }),
    ];
  return [
    withReason({
      title: `Revoke ${name}`,
      button: "Revoke",
      need: "operator",
      isGrave: true,
      effects: [
        "Every gateway refuses every certificate of this name within a second, on open connections too.",
        "The kube-apiserver beside it can encrypt and decrypt nothing any more. Other nodes of the cluster go on.",
        "To allow it again takes an administrator.",
      ],
      words: () => ["node", "revoke", name],
      run: (api, reason) => api.call("revokeNode", { cluster, node, reason }),
      done: `${name} is revoked`,
    }),
  ];
}

/** @param operator the name of whoever looks */
export function approvalActions({ id = "", state, method = "", requestedBy }: Approval, operator: string) {
  if (state !== "pending") return [];
  const isOwn = requestedBy === operator;
  const approve: Action = {
    title: `Approve ${method} of ${requestedBy ?? ""}`,
    button: "Approve",
    need: "admin",
    effects: ["The change is made now, once, in the name of whoever asked for it. The audit record names both of you."],
    isGrave: true,
    hasReason: false,
    command: () => command(["approvals", "approve", id]),
    run: (api) => api.call("approveChange", { id }),
    done: `${method} is approved and done`,
  };
  const reject = withReason({
    title: `${isOwn ? "Take back" : "Reject"} ${method} of ${requestedBy ?? ""}`,
    button: isOwn ? "Take back" : "Reject",
    need: isOwn ? "operator" : "admin",
    effects: ["The change is not made. Whoever wants it has to ask again."],
    words: () => ["approvals", "reject", id],
    run: (api, reason) => api.call("rejectChange", { id, reason }),
    done: `${method} is rejected; nothing was changed`,
  });
  return [...(isOwn ? [] : [approve]), reject];
}
