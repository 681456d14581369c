// When the certificates in use expire: judged by the minute, logged from a third of their life
// before the end, for /readyz, --check and the metrics of both programs. The clock is the wall's,
// as that of whoever verifies them.
import type { X509Certificate } from "node:crypto";
import { identityOf } from "./certificates.ts";
import type { Log } from "./log.ts";

/** Certificates that are used for one thing. */
export type CertificateRole = {
  /** From a small set: it is a label of metrics. */
  readonly role: string;
  /** A certificate and its intermediates, or CAs that are trusted. */
  readonly kind: "chain" | "authorities";
  /** Those in use now. @throws Error when they cannot be read */
  readonly read: () => readonly X509Certificate[];
};

export type CertificateState = {
  readonly role: string;
  /** `invalid`: expired, not valid yet, or not readable. */
  readonly level: "ok" | "expiring" | "invalid";
  /** `ok`, or what is wrong and with which certificate. */
  readonly text: string;
  /** Until the first of a chain, or the first valid one of several CAs, expires; negative after that. */
  readonly secondsLeft?: number;
  /** Of that one, Unix seconds. */
  readonly validFrom?: number;
  readonly expiresAt?: number;
  /** SHA-256 of that one: another one is news. */
  readonly fingerprint?: string;
};

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** A CA of ten years is not news for three of them. */
const longestNoticeMs = 90 * day;
/** Between two lines on the same certificate. */
const remindMs = day;

/** `3 days`, `5 h`, `2 min` */
function spanText(ms: number): string {
  if (ms >= 2 * day) return `${Math.floor(ms / day)} days`;
  return ms >= 2 * hour ? `${Math.floor(ms / hour)} h` : `${Math.ceil(ms / minute)} min`;
}

/** Of CAs that are trusted together, one that has expired is only left over where another is valid. */
function decisiveOf(kind: CertificateRole["kind"], all: readonly X509Certificate[], now: number) {
  const byEnd = all.toSorted((a, b) => Date.parse(a.validTo) - Date.parse(b.validTo));
  const valid = byEnd.find(({ validTo }) => Date.parse(validTo) > now);
  return kind === "chain" ? byEnd[0] : (valid ?? byEnd.at(-1));
}

/** @param now Unix milliseconds */
export function judgeCertificates({ role, kind, read }: CertificateRole, now: number): CertificateState {
  let all: readonly X509Certificate[];
  try {
    all = read();
  } catch (error) {
    return { role, level: "invalid", text: (error as Error).message.replaceAll(/\s+/g, " ") };
  }
  const certificate = decisiveOf(kind, all, now);
  if (certificate === undefined) return { role, level: "invalid", text: "there is no certificate" };
  const [start, end] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  const secondsLeft = Math.floor((end - now) / 1000);
  const at = (time: number): string => `${new Date(time).toISOString().slice(0, 19)}Z`;
  const who = identityOf(certificate);
  const times = { secondsLeft, validFrom: start / 1000, expiresAt: end / 1000 };
  const state = { role, ...times, fingerprint: certificate.fingerprint256 };
  if (end <= now) return { ...state, level: "invalid", text: `expired at ${at(end)}: ${who}` };
  if (start > now) return { ...state, level: "invalid", text: `not valid before ${at(start)}: ${who}` };
  const noticeMs = kind === "chain" ? (end - start) / 3 : Math.min((end - start) / 3, longestNoticeMs);
  return end - now > noticeMs
    ? { ...state, level: "ok", text: "ok" }
    : { ...state, level: "expiring", text: `expires in ${spanText(end - now)}, at ${at(end)}: ${who}` };
}

export type ExpiryWatch = {
  /** As they stand at this moment. */
  readonly states: () => readonly CertificateState[];
  readonly close: () => void;
};

/**
 * Logs what expires and what has expired: when that begins, and once a day.
 * @param now Unix milliseconds
 */
export function watchExpiry({
  roles,
  log,
  now = Date.now,
}: {
  readonly roles: readonly CertificateRole[];
  readonly log: Log;
  readonly now?: () => number;
}): ExpiryWatch {
  const said = new Map<string, { readonly what: string; readonly at: number }>();
  const states = (): readonly CertificateState[] => roles.map((role) => judgeCertificates(role, now()));
  let timer: NodeJS.Timeout;
  const look = (): void => {
    for (const { role, level, text, fingerprint } of states()) {
      const last = said.get(role);
      const what = `${level} ${fingerprint}`;
      if (last?.what === what && (level === "ok" || now() - last.at < remindMs)) continue;
      said.set(role, { what, at: now() });
      if (level === "expiring") log.warn({ event: "certificate-expiring", role, what: text }, "a certificate expires");
      if (level === "invalid")
        log.error({ event: "certificate-invalid", role, what: text }, "a certificate is not valid or not usable");
    }
    timer = setTimeout(look, minute).unref();
  };
  look();
  return { states, close: () => clearTimeout(timer) };
}

/** How it stands, and until when where nothing is wrong. */
export function describeExpiry({ text, secondsLeft }: CertificateState): string {
  return text === "ok" && secondsLeft !== undefined ? `valid for ${spanText(secondsLeft * 1000)}` : text;
}
