// `node list`, `node show` and `fleet status`: what they print of what the fleet service knows.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import { runCli } from "@claviger/cli/src/run.ts";
import { integrityKey, pemOf, startWorld } from "../fleet/world.ts";
import { gatewayOf, putGateways, putReports, reportOf, well } from "../fleet/reports.ts";

const red = "01M8CZX875MFSCYTBWR058VXTH";
const minute = 60_000;
const key = `clv1.${"k".repeat(43)}`;

async function site(t: TestContext) {
  const world = await startWorld(t);
  const now = Date.now();
  const vera = await pemOf(issueOperator({ ca: world.ca, name: "vera" }));
  const fileOf = (name: string, text = ""): string => {
    const file = join(world.dir, name);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  };
  const at = [
    "--fleet",
    world.url,
    "--ca",
    fileOf("ca.pem", world.ca.cert),
    "--cert",
    fileOf("vera.pem", vera.cert),
    "--key",
    fileOf("vera.key", vera.key),
  ];
  const run = async (...args: readonly string[]) => {
    const [out, err]: [string[], string[]] = [[], []];
    const terminal = { out: (line: string) => out.push(line), err: (line: string) => err.push(line) };
    const status = await runCli([...args, ...at], { ...terminal, env: {}, home: world.dir });
    return { status, out: out.join("\n"), err: err.join("\n") };
  };
  putGateways(world.redis, integrityKey, now - 10 * minute, [gatewayOf(now - 3000)]);
  return { ...world, now, run, put: putReports.bind(undefined, world.redis, integrityKey, red) };
}

test("a list has a line for each node, with what is not known as not known", async (t) => {
  const { run, put, now } = await site(t);
  put([
    reportOf("n-1", now - 5000, { shim: { ...well, keyId: key as never } }),
    reportOf("n-2", now - 20 * minute, { shim: undefined }),
    reportOf("n-3", now - 5000, { certificate: { serial: "1", notBefore: 0, notAfter: now - 1000 } }),
  ]);
  const { status, out, err } = await run("node", "list");
  assert.deepEqual([status, err], [0, ""]);
  const lines = out.split("\n").map((line) => line.split(/ {2,}/));
  assert.deepEqual(lines[0], ["NODE", "CONDITION", "SEEN", "PHASE", "CERTIFICATE", "VERSION", "KEY_ID", "CONFIG"]);
  assert.deepEqual(lines[1], ["blue/gone", "revoked", "never", "-", "-", "-", "-", "-"]);
  assert.deepEqual(
    [lines[2]?.slice(0, 2), lines[2]?.slice(3)],
    [
      ["red/n-1", "ok"],
      ["0", "23h", "0.2.0", "clv1.kkkkkkkk", "01234567"],
    ],
  );
  assert.deepEqual(lines[3]?.slice(0, 6), ["red/n-2", "not_seen", "20m ago", "-", "23h", "-"]);
  assert.equal(lines[4]?.[4], "expired");
});

test("a list is filtered, has more than a page, and is data in JSON", async (t) => {
  const { run, put, now } = await site(t);
  const names = Array.from({ length: 1234 }, (_, i) => `n-${String(i).padStart(4, "0")}`);
  put(names.map((name) => reportOf(name, now - (name === "n-0007" ? 20 * minute : 5000))));
  const all = await run("node", "list", "red", "-o", "json");
  const nodes = JSON.parse(all.out) as readonly Readonly<Record<string, unknown>>[];
  assert.deepEqual(
    nodes.map(({ node }) => node),
    names,
  );
  // Every field, also where nothing is known of it.
  assert.deepEqual([nodes[0]?.["condition"], nodes[0]?.["keyId"], nodes[0]?.["phase"]], ["ok", "", 0]);
  for (const filter of [
    ["--not-seen-for", "10m"],
    ["--condition", "not_seen", "--condition", "missing"],
    ["-l", "team=red", "--condition", "not_seen"],
    ["--phase", "0", "--not-seen-for", "10m"],
  ]) {
    const { out } = await run("node", "list", "red", "-o", "json", ...filter);
    assert.deepEqual(
      (JSON.parse(out) as readonly { readonly node: string }[]).map(({ node }) => node),
      ["n-0007"],
    );
  }
  const none = await run("node", "list", "--phase", "3");
  assert.deepEqual([none.status, none.out, none.err], [0, "", "there is no such node"]);
});

test("a node is shown with all that is known of it", async (t) => {
  const { run, put, now } = await site(t);
  put([
    reportOf("n-1", now - 5000, {
      shim: { ...well, phase: 2, sinceGood: 700, lastOutage: { phase: 3, lasted: 4000, ago: 60 } },
    }),
  ]);
  const { out, status } = await run("node", "show", "red/n-1");
  assert.equal(status, 0);
  const fields = Object.fromEntries(out.split("\n").map((line) => line.trim().split(/ {2,}/) as [string, string]));
  assert.deepEqual(
    [fields["condition"], fields["phase"], fields["key confirmed"], fields["shim version"], fields["key_id"]],
    ["outage", "2 healthz names the cause", "11m before", "0.2.0", "-"],
  );
  assert.match(fields["last outage"] ?? "", /^phase 3 for 1h, ended 20\S+Z$/);
  assert.match(fields["last seen"] ?? "", /^20\S+Z, \d+s ago$/);
  const never = await run("node", "show", "blue/gone");
  assert.match(never.out, /last seen +never\n/);
  const missing = await run("node", "show", "red/n-9");
  assert.deepEqual([missing.status, missing.out], [1, ""]);
  assert.match(missing.err, /^claviger: the fleet service refuses: the record of red does not name n-9/);
});

test("the fleet is told in numbers, and only what needs a person ends with exit status 3", async (t) => {
  const { run, put, now } = await site(t);
  put([reportOf("n-1", now - 5000)]);
  const well0 = await run("fleet", "status", "--attention");
  assert.deepEqual([well0.status, well0.out, well0.err], [0, "", ""]);
  assert.deepEqual((await run("fleet", "status", "--attention", "-o", "json")).out, "[]");
  const numbers = await run("fleet", "status");
  assert.equal(
    numbers.out,
    `CLUSTERS        1 suspended, 1 active
NODES           1 revoked, 1 ok
  seen lately   1 in phase 0
  shims         1 0.2.0
  certificates  0 with less than a third of their life left
KEYS            0 older than the policy allows
GATEWAYS        1 0.2.0
ATTENTION       nothing needs a person`,
  );
  put([reportOf("n-1", now - 5000, { shim: { ...well, phase: 3, sinceGood: 5 } })]);
  const since = `${new Date(now - 10_000).toISOString().slice(0, 19)}Z`;
  const item = `critical  red/n-1: no gateway confirms its key: Status is an error, and kube-apiserver stops writing, since ${since}
          on n-1 of red: claviger-shim --config /etc/claviger/shim.yaml --check`;
  const bad = await run("fleet", "status", "--attention");
  assert.deepEqual([bad.status, bad.out, bad.err], [3, item, ""]);
  const both = await run("fleet", "status");
  assert.deepEqual([both.status, both.out.endsWith(`ATTENTION       1\n\n${item}`)], [0, true]);
  const json = await run("fleet", "status", "--attention", "-o", "json");
  assert.equal(json.status, 3);
  assert.deepEqual(
    (JSON.parse(json.out) as readonly { readonly kind: string }[]).map(({ kind }) => kind),
    ["writes_stopped"],
  );
  const ofBlue = await run("fleet", "status", "--attention", "-l", "team=blue");
  assert.equal(ofBlue.status, 0);
});

test("gateways are told with how busy they are, their backends, their first certificate to end and what is wrong", async (t) => {
  const { run, redis, now } = await site(t);
  const { eventLoop: _, ...started } = gatewayOf(now, { name: "a:8443", certificates: [], backends: [] });
  putGateways(redis, integrityKey, now - 10 * minute, [
    started,
    gatewayOf(now - 70_000, {
      name: "b:8443",
      eventLoop: 0.456,
      backends: [
        {
          name: "main",
          addresses: [
            { address: "https://x:1", isUp: true },
            { address: "https://y:1", isUp: false },
          ],
        },
        { name: "other", addresses: [] },
      ],
      certificates: [
        { role: "server", until: now + 90 * minute },
        { role: "client_ca", until: now + 900 * minute, problem: "expires" },
      ],
      problems: { audit: "no sink takes records" },
    }),
  ]);
  const { out, status } = await run("fleet", "gateways");
  const [head, a, b] = out.split("\n").map((line) => line.split(/ {2,}/));
  assert.equal(status, 0);
  assert.equal(head?.join(" "), "GATEWAY VERSION SEEN BUSY CONNECTIONS BACKENDS CERTIFICATE PROBLEMS");
  assert.deepEqual([a?.[0], a?.[3], a?.slice(-2)], ["a:8443", "-", ["-", "none"]]);
  assert.deepEqual(b, [
    "b:8443",
    "0.2.0",
    "1m ago",
    "46%",
    "3",
    "main 1/2, other",
    "1h",
    "audit: no sink takes records; client_ca: expires",
  ]);
  const { out: json } = await run("fleet", "gateways", "-o", "json");
  assert.equal((JSON.parse(json) as readonly unknown[]).length, 2);
});

test("what is missing is said beside the data, and needs a person where Redis is away", async (t) => {
  const { run, redis } = await site(t);
  redis.isAway = true;
  for (const args of [
    ["node", "list"],
    ["node", "show", "blue/gone"],
    ["fleet", "status"],
  ]) {
    const { status, out, err } = await run(...args, "-o", "json");
    assert.equal(status, 0);
    assert.ok(JSON.parse(out) !== undefined);
    assert.match(err, /^This is not all: what gateways know of nodes cannot be read: Redis is away/);
  }
  const { status, out } = await run("fleet", "status", "--attention");
  assert.equal(status, 3);
  assert.match(out, /^warning {3}fleet: what gateways know of nodes cannot be read/);
});

test("what a gateway says cannot act upon a terminal, nor look like another line", async (t) => {
  const { run, redis, now } = await site(t);
  const problems = { audit: "no\u001b[2J\ncritical  everything: is lost" };
  putGateways(redis, integrityKey, now - 10 * minute, [gatewayOf(now, { problems })]);
  const { out } = await run("fleet", "status", "--attention");
  assert.equal(out.split("\n").length, 2);
  assert.match(out, /^warning {3}gateway-1:8443: audit: no\\u\{1b\}\[2J\\u\{a\}critical/);
});
