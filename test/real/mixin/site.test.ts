// The mixin over a real site: dashboards have data, nothing fires while all is well, and faults fire what they should.
// The short form has some of the faults; `npm run test:full -- mixin` has all. An hour of a rule is a minute here.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, suite, test } from "node:test";
import { request } from "undici";
import { boards } from "../../../infra/mixin/boards.ts";
import { until } from "../../lab/process-group.ts";
import { rounds } from "./faults.ts";
import { startWorld, type World } from "./world.ts";

const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";
/** An hour of the rules in the full form. */
const healthyMs = isFull ? 60_000 : 15_000;

/** Shown only once something has gone wrong, in a healthy site there is nothing to show. */
const ofFailures = /result!="ok"|outcome!="ok"|decrypt_errors/;

suite("The mixin over a real site", () => {
  let dir: string;
  let world: World;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    world = await startWorld(dir);
  });
  after(async () => {
    await world.stop();
    await rm(dir, { recursive: true, force: true });
  });

  /** A panel's query as Grafana would send it with everything chosen. */
  const filled = (expr: string): string =>
    expr.replaceAll("$__rate_interval", "10s").replaceAll(/\$(?:cluster|gateway)\b/g, ".*");
  const queries = boards.flatMap(({ uid, rows }) =>
    rows.flatMap(({ panels }) =>
      panels.flatMap((panel) =>
        panel.queries.map(({ expr }) => ({ at: `${uid}: ${panel.title}`, expr: filled(expr) })),
      ),
    ),
  );

  test("promtool has nothing to say of what the programs show", async () => {
    for (const url of Object.values(world.targets).flat()) {
      const page = await (await request(url)).body.text();
      const child = spawn("promtool", ["check", "metrics"], { stdio: ["pipe", "pipe", "pipe"] });
      child.stdin.end(page);
      const said = await Promise.all([text(child.stdout), text(child.stderr)]);
      assert.equal(said.join(""), "", url);
    }
  });

  test("nothing fires while all is well", async () => {
    await until("a first word of every program", world.prometheus.proc, async () =>
      (await world.prometheus.query("count(claviger_build_info)"))[0]?.value[1] === "5" ? true : undefined,
    );
    // What was not there yet when Prometheus started is told until the rules are evaluated again.
    await until("no alert of the start", world.prometheus.proc, async () =>
      (await world.firing()).size === 0 ? true : undefined,
    );
    for (const end = Date.now() + healthyMs; Date.now() < end; await sleep(1000))
      assert.deepEqual([...(await world.firing())], []);
  });

  test("every query of the dashboards has data", async () => {
    assert.ok(queries.length > 50);
    const of = queries.filter(({ expr }) => !ofFailures.test(expr));
    assert.ok(queries.length - of.length < 8);
    const empty = new Set(of);
    const look = async (): Promise<true | undefined> => {
      for (const query of empty) if ((await world.prometheus.query(query.expr)).length > 0) empty.delete(query);
      return empty.size === 0 ? true : undefined;
    };
    await until("data", undefined, look, 20_000).catch(() =>
      assert.fail(`no data:\n${[...empty].map(({ at, expr }) => `${at}: ${expr}`).join("\n")}`),
    );
  });

  for (const { name, faults } of rounds.filter(({ isShort }) => isShort || isFull))
    test(`${name}: ${faults.map(({ how, alerts }) => `${how} (${alerts.join(", ")})`).join("; ")}`, async () => {
      for (const { cause } of faults) await cause(world);
      await world.untilFired(
        faults.flatMap(({ alerts }) => alerts),
        240_000,
      );
      for (const { cure } of faults) await cure?.(world);
    });

  test("the queries for what goes wrong have data once it did", async () => {
    const of = queries.filter(({ expr }) => ofFailures.test(expr));
    const empty: string[] = [];
    for (const { at, expr } of of) {
      // Over all that was: the rates of it are over by now.
      const wide = expr.replaceAll("[10s]", "[10m]");
      if ((await world.prometheus.query(wide)).length === 0) empty.push(at);
    }
    assert.deepEqual(empty, []);
  });
});
