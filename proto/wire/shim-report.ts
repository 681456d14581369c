// What a shim says of itself with each Status, for whoever looks after the fleet: one header of
// NAME=VALUE joined by ';', bounded, each value of a closed form. A node's own word of itself: nothing
// is decided by it. (docs/architecture.md #fleet-view.)
import { type KeyId, keyId as keyIdName } from "./names.ts";

/** How an outage stands: 0 none, 1 ready on the last key_id, 2 healthz names the cause, 3 an error. */
export type OutagePhase = 0 | 1 | 2 | 3;

/** An outage that is over: the worst phase of it, how long it lasted, and how long ago it ended, seconds. */
export type PastOutage = { readonly phase: Exclude<OutagePhase, 0>; readonly lasted: number; readonly ago: number };

export type ShimReport = {
  /** Of the shim, as its package has it. */
  readonly version: string;
  /** When the Status was asked for, before its answer. */
  readonly phase: OutagePhase;
  /** Since a gateway last confirmed the key with fresh word of it, seconds; absent before the first time. */
  readonly sinceGood?: number;
  /** The key_id that the shim goes by. */
  readonly keyId?: KeyId;
  /** SHA-256 of the settings in force, its first 16 hexadecimal digits: alike where the settings are. */
  readonly config?: string;
  /** The last one since the shim was started. */
  readonly lastOutage?: PastOutage;
};

/** The longest header that is looked at. */
const maxLength = 512;
const maxFields = 16;
const field = /^([a-z][a-z-]{0,15})=([\w.:+-]{1,64})$/;
const forms = {
  version: /^\d[\w.+-]{0,31}$/,
  phase: /^[0-3]$/,
  seconds: /^\d{1,9}$/,
  config: /^[0-9a-f]{16}$/,
  outage: /^([1-3]):(\d{1,9}):(\d{1,9})$/,
} as const;
const mostSeconds = 999_999_999;

function whole(seconds: number): number {
  return Math.min(mostSeconds, Math.max(0, Math.round(seconds)));
}

/** Text for the `claviger-shim` header. Seconds become whole ones. */
export function formatShimReport({ version, phase, sinceGood, keyId, config, lastOutage }: ShimReport): string {
  return [
    `version=${version}`,
    `phase=${phase}`,
    sinceGood === undefined ? "" : `good=${whole(sinceGood)}`,
    keyId === undefined ? "" : `key=${keyId}`,
    config === undefined ? "" : `config=${config}`,
    lastOutage === undefined ? "" : `outage=${lastOutage.phase}:${whole(lastOutage.lasted)}:${whole(lastOutage.ago)}`,
  ]
    .filter((text) => text !== "")
    .join(";");
}

function fieldsOf(text: string): ReadonlyMap<string, string> | undefined {
  if (text.length > maxLength) return undefined;
  const parts = text.split(";", maxFields + 1);
  const fields = new Map<string, string>();
  for (const part of parts) {
    const [, name, value] = field.exec(part) ?? [];
    if (name === undefined || value === undefined || fields.has(name)) return undefined;
    fields.set(name, value);
  }
  return parts.length > maxFields ? undefined : fields;
}

function isWrong(value: string | undefined, form: RegExp): boolean {
  return value !== undefined && !form.test(value);
}

/**
 * What a header says; undefined where any of it is not of its form. Names that a later release adds are
 * passed over.
 */
export function parseShimReport(text: unknown): ShimReport | undefined {
  const fields = typeof text === "string" ? fieldsOf(text) : undefined;
  const [version, phase] = [fields?.get("version"), fields?.get("phase")];
  if (fields === undefined || version === undefined || phase === undefined) return undefined;
  const [good, key, config, outage] = ["good", "key", "config", "outage"].map((name) => fields.get(name));
  const past = outage === undefined ? undefined : forms.outage.exec(outage);
  if (
    isWrong(version, forms.version) ||
    isWrong(phase, forms.phase) ||
    isWrong(good, forms.seconds) ||
    isWrong(config, forms.config) ||
    (key !== undefined && !keyIdName.is(key)) ||
    past === null
  )
    return undefined;
  return {
    version,
    phase: Number(phase) as OutagePhase,
    ...(good !== undefined && { sinceGood: Number(good) }),
    ...(key !== undefined && { keyId: key }),
    ...(config !== undefined && { config }),
    ...(past !== undefined && {
      lastOutage: { phase: Number(past[1]) as PastOutage["phase"], lasted: Number(past[2]), ago: Number(past[3]) },
    }),
  };
}
