// Who may do what, taken again from a file that has changed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import type { FleetConfig } from "../../../../gateway/fleet/src/config.ts";
import { createRoles } from "../../../../gateway/fleet/src/roles.ts";

function configOf(more: object = {}): FleetConfig {
  return { operators: { ada: { role: "admin" } }, oidc: {}, trustDomain: "fleet.test", ...more } as never;
}

test("operators and issuers count at once, and the names of other settings that have changed are told once", () => {
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  let next: FleetConfig | undefined = configOf();
  const read = (): FleetConfig => {
    if (next === undefined) throw new ConfigError("fleet.yaml", ["is not good"]);
    return next;
  };
  const roles = createRoles(configOf(), read, log);
  const before = roles.current();
  assert.equal(roles.reload(), false);
  assert.equal(roles.current(), before);
  next = configOf({ operators: { ada: { role: "viewer" } } });
  assert.equal(roles.reload(), true);
  assert.equal(roles.current().operators, next.operators);
  assert.equal(roles.current().oidc, before.oidc, "what is as it was is the same object");
  assert.deepEqual(lines, []);
  next = configOf({ trustDomain: "other.test", operators: { ada: { role: "viewer" } } });
  for (let i = 0; i < 2; i += 1) assert.equal(roles.reload(), false);
  assert.equal(lines.length, 1);
  assert.deepEqual((JSON.parse(lines[0] ?? "") as { readonly settings: unknown }).settings, ["trustDomain"]);
  next = undefined;
  assert.throws(() => roles.reload(), /is not good/);
  assert.deepEqual(roles.current().operators, { ada: { role: "viewer" } });
});
