// What gateways say of themselves on their second listeners: whether they have an edit of the registry in
// force, and how often they read keys.
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "@claviger/proto/runtime/config.ts";
import { isInForce, isOneKind } from "@claviger/gateway-core/src/registry/port.ts";
import { CliError } from "./commander.ts";
import { codeOf } from "@claviger/proto/runtime/file-problem.ts";
import { connectionProblem } from "./outside.ts";

/** Where to ask: gateways' second listeners. */
export type GatewayAddresses = {
  readonly urls: readonly URL[];
  /** Named by the operator: one that does not answer is an error. */
  readonly areNamed: boolean;
};

const waitMs = 5000;
const callMs = 1000;
const pollMs = 100;

const readyReply = z.object({
  registryVersion: z.optional(z.string()),
  checks: z.object({ registry: z.optional(z.string()) }),
});

/** `elsewhere`: it reads a registry of another kind, and may be about to read this one. */
type Word = { readonly kind: "has-it" } | { readonly kind: "other" | "elsewhere" | "silent"; readonly why: string };

async function ask(url: URL, wanted: string): Promise<Word> {
  try {
    const reply = await fetch(new URL("/readyz", url), { signal: AbortSignal.timeout(callMs) });
    const state = readyReply.safeParse(await reply.json());
    if (!state.success) return { kind: "silent", why: "what answers there is no gateway" };
    const { registryVersion } = state.data;
    if (isInForce(wanted, registryVersion)) return { kind: "has-it" };
    // As while a registry moves: the gateway is started anew for it.
    if (registryVersion !== undefined && !isOneKind(wanted, registryVersion))
      return { kind: "elsewhere", why: "it reads a registry of another kind" };
    const { registry = "" } = state.data.checks;
    return {
      kind: "other",
      why: registry === "" || registry === "ok" ? "it still has another registry; does it read this one?" : registry,
    };
  } catch (error) {
    const code = error instanceof Error ? codeOf(error.cause) : undefined;
    return { kind: "silent", why: code === undefined ? "it does not answer" : connectionProblem(code) };
  }
}

async function wait(url: URL, wanted: string, timeoutMs: number): Promise<Word> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const word = await ask(url, wanted);
    // Who does not listen will not within seconds.
    if (word.kind === "has-it" || word.kind === "silent" || performance.now() > end) return word;
    await sleep(pollMs);
  }
}

/**
 * Waits until every gateway has the registry in force.
 * @returns what to tell the operator
 * @param version see RegistryStore
 * @param timeoutMs for those that answer and have another one
 * @throws CliError when one has it not, or one that was named does not answer
 */
export async function waitForGateways(
  { urls, areNamed }: GatewayAddresses,
  version: string,
  timeoutMs = waitMs,
): Promise<string> {
  const words = await Promise.all(
    urls.map(async (url) => ({ at: url.origin, word: await wait(url, version, timeoutMs) })),
  );
  const has = words.filter(({ word }) => word.kind === "has-it").map(({ at }) => at);
  const problems = words.flatMap(({ at, word }) =>
    word.kind === "other" || (word.kind !== "has-it" && areNamed) ? [`gateway ${at}: ${word.why}`] : [],
  );
  if (problems.length > 0)
    throw new CliError(["the edit is written, and not every gateway has it in force:", ...problems].join("\n  - "));
  const heard =
    has.length === 0
      ? "No gateway was heard: whether one has it in force is not known."
      : `In force at ${has.join(", ")}, by their own word.`;
  return areNamed
    ? heard
    : `${heard} Of further gateways nothing is known; name their second listeners to wait for them, too: --gateway http://HOST:PORT`;
}

/** A gateway of 0.1.0 has the shorter name. */
const interval = /^claviger_gateway_key_refresh(?:_interval_seconds)?(?:\{[^}]*\})? ([0-9.e+-]+)/m;

async function askInterval(url: URL): Promise<number | undefined> {
  try {
    const reply = await fetch(new URL("/metrics", url), { signal: AbortSignal.timeout(callMs) });
    const seconds = Number(interval.exec(await reply.text())?.[1]);
    return Number.isFinite(seconds) && seconds > 0 ? seconds : undefined;
  } catch {
    return undefined;
  }
}

/**
 * How often the gateways read each key of theirs from its backend.
 * @returns seconds, of the one that does so most seldom; undefined where none was heard
 */
export async function keyIntervalOf(
  urls: readonly URL[],
): Promise<{ readonly seconds: number; readonly gateways: readonly string[] } | undefined> {
  const words = await Promise.all(urls.map(async (url) => ({ at: url.origin, seconds: await askInterval(url) })));
  const heard = words.flatMap(({ at, seconds }) => (seconds === undefined ? [] : [{ at, seconds }]));
  if (heard.length === 0) return undefined;
  return { seconds: Math.max(...heard.map(({ seconds }) => seconds)), gateways: heard.map(({ at }) => at) };
}
