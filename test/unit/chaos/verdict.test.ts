// What `npm run chaos` counts as a failure of ours.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { anyOf } from "../../chaos/fault.ts";
import { chosen, faults, shortIds } from "../../chaos/faults.ts";
import { createKeyIdOrder } from "../../chaos/key-ids.ts";
import { formatReport, pageOf, problemsOf } from "../../chaos/report.ts";
import type { Outcome } from "../../chaos/run.ts";
import { summaryOf } from "../../chaos/run.ts";
import type { Call } from "../../chaos/load.ts";

const [first] = faults;
assert.ok(first !== undefined);
const fault = { ...first, mayFail: anyOf("shim-1") };
const call = (stream: Call["stream"], result: Call["result"], ms = 1): Call => ({
  stream,
  ask: "read",
  result,
  ms,
  reason: "x",
});
const outcome = (calls: readonly Call[], lost = 0): Outcome => ({
  ...summaryOf(fault, calls),
  lost,
  recovery: 1000,
  rotation: 2000,
});

suite("the order of key_ids", () => {
  test("one that was left behind does not come back to a call that began after its successor was shown", () => {
    const order = createKeyIdOrder();
    assert.equal(order.take("a", order.now()), true);
    const early = order.now();
    assert.equal(order.take("b", order.now()), true);
    assert.equal(order.take("a", order.now()), false);
    assert.equal(order.take("a", early), true);
    assert.equal(order.latest(), "b");
  });
});

suite("the verdict on a fault", () => {
  test("a failed call is excused where the fault takes the only one away, and nowhere else", () => {
    assert.deepEqual(problemsOf([outcome([call("shim-1", "failed"), call("shim-2", "ok")])]), []);
    assert.match(String(problemsOf([outcome([call("shim-2", "failed")])])), /1 failed/);
    assert.match(formatReport([outcome([call("shim-2", "failed")])]), /\| 1 \(\*\*1\*\* that must not\) \|/);
  });

  test("a wrong answer, a lost one and a row without requests are problems wherever they come from", () => {
    assert.match(String(problemsOf([outcome([call("shim-1", "wrong")])])), /1 wrong/);
    assert.match(String(problemsOf([outcome([call("shim-1", "ok")], 3)])), /3 lost/);
    assert.match(String(problemsOf([outcome([])])), /no request/);
  });

  test("the slowest call is one that was answered well", () => {
    const calls = [call("shim-1", "ok", 5), call("shim-1", "failed", 3000), call("secrets", "ok", 7)];
    assert.deepEqual(outcome(calls).slowest, { kms: 5, secrets: 7 });
  });

  test("a fault that was not tried is in the table, with the reason, and is no problem", () => {
    const untried = [{ fault, why: "no root" }];
    assert.match(formatReport(untried), /not tried: no root/);
    assert.deepEqual(problemsOf(untried), []);
  });
});

suite("a fault whose course ended by an error", () => {
  test("is a problem, and its row says what happened", () => {
    const broken = [{ fault, error: new Error("it does not come back") }];
    assert.match(String(problemsOf(broken)), /it does not come back/);
    assert.match(formatReport(broken), /\*\*it does not come back\*\*/);
  });
});

suite("the page", () => {
  test("has the rows of a run in the order of the faults, keeps those of an earlier one, and drops what is no fault", () => {
    const [one, two] = faults;
    assert.ok(one !== undefined && two !== undefined);
    const row = (of: typeof one, lost: number) => ({ ...outcome([call("shim-1", "ok")], lost), fault: of });
    const earlier = pageOf([row(one, 7), row({ ...two, name: "gone" }, 1)], [one, { ...two, name: "gone" }], 0);
    const lines = pageOf([row(two, 9)], faults, 0, earlier)
      .split("\n")
      .filter((line) => line.startsWith("| "));
    assert.deepEqual(
      lines.slice(2).map((line) => [line.split(" | ")[0], line.split(" | ")[5]]),
      [
        [`| ${one.name}`, "7"],
        [`| ${two.name}`, "9"],
      ],
    );
  });
});

suite("the choice of faults", () => {
  test("words choose by id, none chooses all, and one that fits nothing is refused", () => {
    assert.equal(chosen([]).length, faults.length);
    assert.deepEqual(
      chosen(["kill-redis"]).map(({ id }) => id),
      ["kill-redis"],
    );
    assert.throws(() => chosen(["nonsense"]), /no fault is called nonsense/);
  });

  test("ids are unique, and those of the short run need nothing of the machine", () => {
    const ids = faults.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
    const short = faults.filter(({ id }) => shortIds.includes(id));
    assert.equal(short.length, shortIds.length);
    assert.deepEqual(
      short.filter(({ needs }) => needs !== undefined),
      [],
    );
  });
});
