import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createBoundedLabel } from "@claviger/proto/runtime/bounded-label.ts";
import { createMeter } from "@claviger/proto/runtime/meter.ts";
import { observeProcess } from "@claviger/proto/runtime/process-metrics.ts";

const service = { name: "claviger-thing", version: "1.2.3", instance: "host:1", labels: { cluster: "prod" } };

suite("The page for Prometheus", () => {
  test("has what was counted, with the labels of the process, and its resource", async () => {
    const meter = createMeter({ service });
    meter.counter("things", "Things that were counted")(3, { kind: "good" });
    meter.gauge("level", "Of the water", () => 2);
    meter.gauge("nothing", "Not known", () => undefined);
    const page = await meter.render();
    assert.match(page, /^# HELP things_total Things that were counted$/m);
    assert.match(page, /^things_total\{kind="good",cluster="prod"\} 3$/m);
    assert.match(page, /^level\{cluster="prod"\} 2$/m);
    assert.doesNotMatch(page, /^nothing/m);
    const [info = ""] = page.split("\n").filter((line) => line.startsWith("target_info{"));
    for (const label of ['service_name="claviger-thing"', 'service_version="1.2.3"', 'service_instance_id="host:1"'])
      assert.ok(info.includes(label), info);
  });

  test("has a family that was renamed under its earlier name as well, and says so", async () => {
    const meter = createMeter({ earlierNames: { wait_seconds: "wait" } });
    meter.histogram("wait_seconds", "How long", [1, 2])(1.5, { method: "a" });
    const page = await meter.render();
    for (const name of ["wait_seconds", "wait"]) {
      assert.match(page, new RegExp(`^# TYPE ${name} histogram$`, "m"));
      assert.match(page, new RegExp(`^${name}_bucket\\{method="a",le="2"\\} 1$`, "m"));
      assert.match(page, new RegExp(`^${name}_sum\\{method="a"\\} 1.5$`, "m"));
    }
    assert.match(page, /^# HELP wait Earlier name of wait_seconds; /m);
    assert.equal(page.match(/^# HELP wait_seconds How long$/gm)?.length, 1);
  });
});

test("a bounded label keeps the first values and makes all others one", () => {
  const bounded = createBoundedLabel(2);
  assert.deepEqual(["a", "b", "c", "a", "d", "b"].map(bounded), ["a", "b", "other", "a", "other", "b"]);
  assert.equal(createBoundedLabel(0)("a"), "other");
});

test("a process shows its build, what it uses, and how late its event loop is", async () => {
  const meter = createMeter();
  observeProcess(meter, "shim", "1.2.3", {
    version: "v24.1.0",
    cpuUsage: () => ({ user: 1_500_000, system: 500_000 }),
    memoryUsage: { rss: () => 1024 },
    uptime: () => 60,
  });
  // Late by what follows, once the loop's timer has begun.
  await new Promise((resolve) => setTimeout(resolve, 50));
  const end = performance.now() + 200;
  while (performance.now() < end);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const page = await meter.render();
  assert.match(page, /^claviger_build_info\{program="shim",version="1.2.3",node_version="24.1.0"\} 1$/m);
  assert.match(page, /^process_cpu_seconds_total 2$/m);
  assert.match(page, /^process_resident_memory_bytes 1024$/m);
  const started = Number(/^process_start_time_seconds (\S+)$/m.exec(page)?.[1]);
  assert.ok(Math.abs(Date.now() / 1000 - 60 - started) < 5);
  const delay = (statistic: string): number =>
    Number(
      new RegExp(`^claviger_event_loop_delay_seconds\\{program="shim",statistic="${statistic}"\\} (\\S+)$`, "m").exec(
        page,
      )?.[1],
    );
  assert.ok(delay("max") > 0.1 && delay("max") < 2, `${delay("max")}`);
  assert.ok(delay("p50") < 0.05, `${delay("p50")}`);
});
