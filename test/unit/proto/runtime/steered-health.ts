// Endpoints whose probes a test steers, under a clock of its own.
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { createEndpointHealth, type Entry, type HealthOptions } from "@claviger/proto/runtime/endpoint-health.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { createManualClock } from "./manual-clock.ts";

export const down = new KmsError("backend_unavailable");
export const second = 1000;

/** Endpoints whose probes fail while `bad` names them, and never end while `silent` does. */
export function createSteeredHealth(
  t: TestContext,
  names: string,
  options: Partial<HealthOptions<string>> = {},
  random = () => 0.5,
) {
  t.mock.method(Math, "random", random);
  const clock = createManualClock();
  const [bad, silent] = [new Set<string>(), new Set<string>()];
  const probes: string[] = [];
  const changes: string[] = [];
  const aborted: string[] = [];
  const health = createEndpointHealth<string>({
    endpoints: names.split(""),
    nameOf: (name) => name.toLowerCase(),
    choice: "ordered",
    probe: async (name, signal) => {
      probes.push(`${name} ${clock.now()}`);
      signal.addEventListener("abort", () => void aborted.push(name));
      if (silent.has(name)) await new Promise(() => {});
      if (bad.has(name)) throw down;
    },
    isBusy: ({ reason }) => reason === "overloaded",
    onChange: (name, failure) =>
      void changes.push(`${name} ${failure === undefined ? "up" : failure.reason} ${clock.now()}`),
    clock,
    ...options,
  });
  const of = (name: string): Entry<string> => {
    const entry = health.entries().find(({ endpoint }) => endpoint === name);
    assert.ok(entry !== undefined);
    return entry;
  };
  const stateOf = (name: string) => health.states().find(({ endpoint }) => endpoint === name);
  const order = (): string =>
    health
      .order()
      .map(({ endpoint }) => endpoint)
      .join("");
  return { clock, bad, silent, probes, changes, aborted, health, of, stateOf, order };
}
