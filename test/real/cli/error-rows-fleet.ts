// Rows of what goes wrong on the way to a fleet service.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Row } from "./error-rows.ts";
import type { World } from "./error-world.ts";

/** `claviger node token`, and a context that names a fleet service alone. */
export function fleetRows(world: World): readonly Row[] {
  const { cert, key } = world.etcd;
  const files = ["--ca", world.ca, "--cert", cert, "--key", key];
  const at = (url: string): readonly string[] => ["--fleet", url, ...files];
  const closed = world.closed.replace("http:", "https:");
  const context = (name: string, settings: object): readonly string[] => {
    const file = join(world.dir, name);
    writeFileSync(file, JSON.stringify({ current: "prod", contexts: { prod: settings } }));
    return ["--config", file];
  };
  const alone = context("fleet-alone", { fleet: { url: closed, ca: world.ca, cert, key } });
  const row = (what: string, name: string, more: readonly string[], says: RegExp): Row => ({
    what: `node token: ${what}`,
    args: ["node", "token", name, "--reason", "a test", ...more],
    says,
  });
  return [
    row("a cluster alone", "prod", at(closed), /^claviger: "prod" must be CLUSTER\/NODE$/),
    row(
      "no duration",
      "prod/cp-1",
      [...at(closed), "--ttl", "soon"],
      /^claviger: --ttl soon is no duration, such as 30m or 1h$/,
    ),
    row(
      "an address alone",
      "prod/cp-1",
      ["--fleet", closed],
      /^claviger: --fleet needs --ca, and --cert and --key or --token-file: /,
    ),
    row(
      "without TLS",
      "prod/cp-1",
      at(world.closed),
      /^claviger: http:\/\/127\.0\.0\.1:\d+ must be https:\/\/HOST:PORT$/,
    ),
    row(
      "nothing listens",
      "prod/cp-1",
      at(closed),
      /^claviger: the fleet service https:\S+ cannot be reached \(ECONNREFUSED: nothing listens/,
    ),
    row(
      "nothing listens at a context's",
      "prod/cp-1",
      alone,
      /^claviger: the fleet service https:\S+ cannot be reached \(ECONNREFUSED/,
    ),
    row(
      "no such file",
      "prod/cp-1",
      ["--fleet", closed, "--ca", "/nowhere/ca", "--cert", cert, "--key", key],
      /^claviger: \/nowhere\/ca cannot be read \(ENOENT: /,
    ),
    row(
      "a context without one",
      "prod/cp-1",
      context("fleet-none", { config: "/x" }),
      /^claviger: context prod of \S+ names no fleet service: add 'fleet' with/,
    ),
    {
      what: "fleet watch: nothing listens",
      args: ["fleet", "watch", "--no-retry", ...at(closed)],
      says: /^claviger: the fleet service https:\S+ cannot be reached \(ECONNREFUSED/,
    },
    {
      what: "console: nothing listens",
      args: ["console", ...at(closed)],
      says: /^claviger: the fleet service https:\S+ cannot be reached \(ECONNREFUSED: nothing listens/,
    },
    {
      what: "approvals approve: nothing listens",
      args: ["approvals", "approve", "0000000-0", ...at(closed)],
      says: /^claviger: the fleet service https:\S+ cannot be reached \(ECONNREFUSED/,
    },
    {
      what: "node list: no duration",
      args: ["node", "list", "--not-seen-for", "long", ...at(closed)],
      says: /^claviger: --not-seen-for long is no duration, such as 30m or 1h$/,
    },
    {
      what: "node list: no phase",
      args: ["node", "list", "--phase", "4", ...at(closed)],
      says: /^claviger: --phase 4 is none of 0, 1, 2 and 3$/,
    },
    {
      what: "node list: nothing listens",
      args: ["node", "list", ...at(closed)],
      says: /^claviger: the fleet service https:\S+ cannot be reached \(ECONNREFUSED: nothing listens/,
    },
    {
      what: "node show: a cluster alone",
      args: ["node", "show", "prod", ...at(closed)],
      says: /^claviger: "prod" must be CLUSTER\/NODE$/,
    },
    {
      what: "fleet gateways: nothing listens",
      args: ["fleet", "gateways", ...at(closed)],
      says: /^claviger: the fleet service https:\S+ cannot be reached \(ECONNREFUSED: nothing listens/,
    },
    {
      what: "fleet status: nothing listens",
      args: ["fleet", "status", "--attention", ...at(closed)],
      says: /^claviger: the fleet service https:\S+ cannot be reached \(ECONNREFUSED: nothing listens/,
    },
    ...siteRows(at(closed), alone),
    {
      what: "cluster list: a context that names a fleet service alone",
      args: ["cluster", "list", "--direct", ...alone],
      says: /^claviger: context prod of \S+ names a fleet service alone; this command reads the registry itself: add backends and/,
    },
  ];
}

/** Commands that go through the service or past it. */
function siteRows(at: readonly string[], alone: readonly string[]): readonly Row[] {
  const reason = ["--reason", "a test"];
  const row = (what: string, args: readonly string[], says: RegExp, status = 1): Row => ({
    what,
    args,
    says,
    status,
    isLong: status === 2,
  });
  const away = /^claviger: the fleet service https:\S+ cannot be reached \(ECONNREFUSED/;
  return [
    row("cluster list: the service is away", ["cluster", "list", ...alone], away),
    row("key status: the service is away", ["key", "status", "prod", ...alone], away),
    row("two ways at once", ["cluster", "list", ...at, "--direct"], /^claviger: give --fleet or --direct, not both$/),
    row("a change without a reason", ["key", "rotate", "prod", ...alone], /^error: required option '--reason/, 2),
    row(
      "key status of all, without a service",
      ["key", "status"],
      /^error: missing required argument 'cluster': the keys of all clusters takes a fleet service/,
      2,
    ),
    row(
      "edit: nothing to change",
      ["cluster", "edit", "prod", ...alone, ...reason],
      /^claviger: say what is to be changed: --rotation, --requests-per-second, --expect or --any-node/,
    ),
    row(
      "edit: two ways to say nodes",
      ["cluster", "edit", "prod", "--expect", "a", "--any-node", ...alone, ...reason],
      /^claviger: give --expect for the names of all nodes, or --any-node, not both$/,
    ),
    row(
      "edit: a node with a name that is none",
      ["cluster", "edit", "prod", "--expect", "N!", ...alone, ...reason],
      /^claviger: --expect "N!" must be a lower-case DNS name/,
    ),
    row(
      "edit: half a request",
      ["cluster", "edit", "prod", "--requests-per-second", "1.5", ...alone, ...reason],
      /Must be a whole number from 1 to 1000000\.[^]*--help/,
      2,
    ),
    row(
      "add: a pattern that is none",
      ["cluster", "add", "new", "--from", alone[1] ?? "", ...alone, ...reason],
      /^claviger: --from: \S+ is no cluster; 'claviger cluster show NAME -o yaml' prints one$/,
    ),
  ];
}
