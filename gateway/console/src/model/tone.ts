// What the words of the API mean to somebody who looks: a tone, which has a colour and a shape, and a word. A word
// that is not known here is unknown, and never good.
import type { Cluster, Node } from "../api/json.ts";

export type Tone = "good" | "note" | "warning" | "critical" | "off" | "unknown";
export type Status = { readonly tone: Tone; readonly word: string };

/** The worst first. */
export const tones: readonly Tone[] = ["critical", "warning", "unknown", "note", "off", "good"];

function of(table: Readonly<Record<string, Status>>, name: string): Status {
  return Object.hasOwn(table, name)
    ? (table[name] as Status)
    : { tone: "unknown", word: name === "" ? "unknown" : name };
}

const clusterStates: Readonly<Record<string, Status>> = {
  active: { tone: "good", word: "active" },
  "decrypt-only": { tone: "note", word: "decrypt-only" },
  suspended: { tone: "off", word: "suspended" },
};
export function clusterState(state: Cluster["state"] = ""): Status {
  return of(clusterStates, state);
}

const conditions: Readonly<Record<string, Status>> = {
  ok: { tone: "good", word: "ok" },
  outage: { tone: "warning", word: "outage" },
  not_seen: { tone: "warning", word: "not seen" },
  missing: { tone: "warning", word: "missing" },
  unexpected: { tone: "note", word: "unexpected" },
  revoked: { tone: "off", word: "revoked" },
  unknown: { tone: "unknown", word: "unknown" },
};
export const conditionNames = Object.keys(conditions);
export function nodeCondition(condition: Node["condition"] = ""): Status {
  return of(conditions, condition);
}

const phases: readonly Status[] = [
  { tone: "good", word: "0: no outage" },
  { tone: "warning", word: "1: ready on the last key_id" },
  { tone: "critical", word: "2: healthz names the cause" },
  { tone: "critical", word: "3: Status is an error" },
];
/** @param phase of an outage; undefined where it is not known */
export function outagePhase(phase: number | undefined): Status {
  return (phase === undefined ? undefined : phases[phase]) ?? { tone: "unknown", word: "unknown" };
}

const versionStates: Readonly<Record<string, Status>> = {
  encrypts: { tone: "good", word: "encrypts" },
  decrypts: { tone: "note", word: "decrypts" },
  waits: { tone: "warning", word: "waits" },
  retired: { tone: "off", word: "retired" },
};
export function versionState(state: string | undefined): Status {
  return of(versionStates, state ?? "");
}

const approvals: Readonly<Record<string, Status>> = {
  pending: { tone: "warning", word: "waits" },
  approved: { tone: "good", word: "approved" },
  rejected: { tone: "off", word: "rejected" },
  expired: { tone: "off", word: "expired" },
  failed: { tone: "critical", word: "failed" },
};
export function approvalState(state: string | undefined): Status {
  return of(approvals, state ?? "");
}

const outcomes: Readonly<Record<string, Status>> = {
  ok: { tone: "good", word: "ok" },
  denied: { tone: "warning", word: "denied" },
  invalid: { tone: "note", word: "invalid" },
  failed: { tone: "critical", word: "failed" },
};
export const outcomeNames = Object.keys(outcomes);
export function auditOutcome(outcome: string | undefined): Status {
  return of(outcomes, outcome ?? "");
}

const severities: Readonly<Record<string, Status>> = {
  critical: { tone: "critical", word: "critical" },
  warning: { tone: "warning", word: "warning" },
};
export function severity(name: string | undefined): Status {
  return of(severities, name ?? "");
}

const lifeShare = 1 / 3;
/** How an end that is to come looks. @param life of the whole, milliseconds; undefined where it is not known */
export function expiry(until: number | undefined, now: number, life?: number): Status {
  if (until === undefined) return { tone: "unknown", word: "unknown" };
  if (until <= now) return { tone: "critical", word: "expired" };
  return life !== undefined && until - now < life * lifeShare
    ? { tone: "warning", word: "expires" }
    : { tone: "good", word: "valid" };
}

/** The worst of several; good where there are none. */
export function worst(all: readonly Status[]): Status {
  const found = tones.flatMap((tone) => all.find((one) => one.tone === tone) ?? []);
  return found[0] ?? { tone: "good", word: "ok" };
}
