// Renews the node's certificate over the one in use, after two thirds of its life, without losing a call: the
// new pair is written, and taken as any changed file is. (docs/architecture.md #enrollment.)
import { X509Certificate } from "node:crypto";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { writePair } from "./enroll.ts";
import { callFleet } from "./fleet-service.ts";
import type { ClientTls } from "./gateway.ts";
import { createSigningRequest } from "./signing-request.ts";

/** The share of a certificate's life after which it is renewed. */
const renewAfter = 2 / 3;
/** Shims that enrolled together do not renew together: up to this share of the life earlier. */
const spread = 0.05;
/** Between two tries: this share of the life, within these bounds in milliseconds. */
const retryShare = 1 / 30;
const [leastRetryMs, mostRetryMs] = [1000, 600_000];
/** Timers reach no further. */
const longestTimerMs = 2 ** 31 - 1;

/** When to renew it, milliseconds from now; 0 where that is past. */
export function renewalDelay(
  { validFrom, validTo }: Pick<X509Certificate, "validFrom" | "validTo">,
  now: number,
  random: number,
): number {
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  return Math.max(0, from + (to - from) * (renewAfter - spread * random) - now);
}

/**
 * @param inUse the certificate and its CAs, now
 * @param file of certificate and key
 */
export function keepRenewed({
  url,
  file,
  inUse,
  log,
  random = Math.random,
}: {
  readonly url: string;
  readonly file: string;
  readonly inUse: () => ClientTls;
  readonly log: Log;
  readonly random?: () => number;
}): { close(): void } {
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  let share = random();
  /** What was written last is not renewed again while nobody has taken it. */
  let written: string | undefined;

  const wait = (ms: number): void => {
    if (!isClosed) timer = setTimeout(() => void round(), Math.min(ms, longestTimerMs)).unref();
  };
  const lifeOf = (cert: string): { readonly delayMs: number; readonly retryMs: number } => {
    const leaf = new X509Certificate(cert);
    const life = Date.parse(leaf.validTo) - Date.parse(leaf.validFrom);
    return {
      delayMs: renewalDelay(leaf, Date.now(), share),
      retryMs: Math.min(Math.max(life * retryShare, leastRetryMs), mostRetryMs),
    };
  };
  const round = async (): Promise<void> => {
    const { cert, key, ca } = inUse();
    const newest = written ?? cert;
    const { delayMs, retryMs } = lifeOf(newest);
    if (delayMs > 0) return wait(Math.max(delayMs, leastRetryMs));
    try {
      const made = createSigningRequest();
      const { certificate } = await callFleet(
        url,
        "RenewNode",
        { certificateRequest: made.request },
        { ca, cert, key },
      );
      await writePair(file, certificate, made);
      written = certificate;
      share = random();
      log.info(
        { event: "certificate-renewed", until: new Date(new X509Certificate(certificate).validTo).toISOString() },
        "the node has a new certificate",
      );
      return wait(leastRetryMs);
    } catch (error) {
      log.warn(
        { event: "certificate-renewal-failed", err: error },
        "the certificate could not be renewed; it is tried again",
      );
      return wait(retryMs);
    }
  };
  void round();
  return {
    close() {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}
