// This machine's clock against that of servers, by the Date header of their answers (RFC 9110 section 6.6.1).
// Nobody is trusted for it: a wrong clock is why a certificate may look wrong.
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { type Check, CheckError, type Found } from "@claviger/proto/runtime/check.ts";

/** A server that is asked for the time: any answer has one. */
export type Timekeeper = {
  readonly url: string;
  readonly path: string;
  /** PEM, where the server asks for a certificate. */
  readonly cert?: string;
  readonly key?: string;
};

/** The header has whole seconds. */
const ownErrorMs = 1000;
/** Certificates are made with so much room before their begin. */
const warnMs = 5000;
const failMs = 60_000;

async function answerOf({ url, path, cert, key }: Timekeeper, signal: AbortSignal): Promise<IncomingMessage> {
  const target = new URL(path, url);
  const options = { signal, agent: false, rejectUnauthorized: false, cert, key };
  const outgoing = target.protocol === "http:" ? httpRequest(target, options) : httpsRequest(target, options);
  outgoing.end();
  const [reply] = (await once(outgoing, "response")) as [IncomingMessage];
  reply.resume();
  outgoing.on("error", () => {});
  return reply;
}

/**
 * What a clock that is wrong by so much means.
 * @param offMs of this machine's clock, ahead is positive
 */
export function judgeClock(offMs: number): Found<true> {
  const off = Math.max(0, Math.abs(offMs) - ownErrorMs);
  const direction = offMs > 0 ? "ahead" : "behind";
  if (off <= warnMs) return { found: "the same time to within seconds", value: true };
  const found = `this machine's clock is ${Math.round(Math.abs(offMs) / 1000)} s ${direction}`;
  const cure = "set the clock, and have it kept by NTP (chrony, systemd-timesyncd): certificates are judged by it";
  return { found: "", value: true, more: [{ verdict: off > failMs ? "failed" : "warning", found, cure }] };
}

async function compare(keeper: Timekeeper, now: () => number, signal: AbortSignal): Promise<Found<true>> {
  const before = now();
  let reply: IncomingMessage;
  try {
    reply = await answerOf(keeper, signal);
  } catch {
    const found = "it does not answer, and says no time";
    return { found: "", value: true, more: [{ verdict: "not tried", found }] };
  }
  const said = Date.parse(reply.headers.date ?? "");
  if (Number.isNaN(said)) throw new CheckError("its answer has no Date", "see what stands before it");
  return judgeClock((before + now()) / 2 - (said + ownErrorMs / 2));
}

/**
 * Adds a row for each server.
 * @param id of the check
 * @param now Unix milliseconds
 */
export async function checkClocks(
  check: Check,
  id: string,
  keepers: readonly Timekeeper[],
  now: () => number = Date.now,
): Promise<void> {
  await Promise.all(
    keepers.map((keeper) => check.step(`${id} ${keeper.url}`, (signal) => compare(keeper, now, signal))),
  );
}
