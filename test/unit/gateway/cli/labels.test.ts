import assert from "node:assert/strict";
import { test } from "node:test";
import { editLabels, parseLabelEdits, parseLabels, parseSelector, printLabels } from "@claviger/cli/src/labels.ts";
import { isSelected, selectorText } from "@claviger/gateway-core/src/registry/labels.ts";

test("a selector is read as kubectl reads it", () => {
  for (const [text, same] of [
    ["cell=a", "cell in (a)"],
    ["cell==a", "cell in (a)"],
    ["cell = a", "cell in (a)"],
    ["cell!=a", "cell notin (a)"],
    ["cell=", "cell in ()"],
    ["tier in (gold, silver),!gone , owner", "tier in (gold,silver),!gone,owner"],
    ["x.io/tier notin (a,b),cell=a", "x.io/tier notin (a,b),cell in (a)"],
    ["", ""],
  ] as const)
    assert.equal(selectorText(parseSelector(text)), same, text);
  for (const wrong of [
    "=a",
    "a=b=c",
    "a,,b",
    "a in b",
    "a in (b",
    "!",
    "a b",
    "-a",
    "!-a",
    "a=-",
    "a>1",
    "a in (b),",
    "a in (b) c",
  ])
    assert.throws(() => parseSelector(wrong), /selector|must be a label/, wrong);
  assert.equal(isSelected(parseSelector("cell=a,tier!=gold"), { cell: "a" }), true);
  assert.equal(isSelected(parseSelector("cell=a,tier!=gold"), { cell: "a", tier: "gold" }), false);
});

test("labels are given as KEY=VALUE and taken away as KEY-; one that has another value needs --overwrite", () => {
  const edits = parseLabelEdits(["cell=b", "x.io/tier=", "old-"]);
  assert.deepEqual(editLabels({ cell: "b", old: "1", stays: "2" }, edits, false, "c1"), {
    cell: "b",
    stays: "2",
    "x.io/tier": "",
  });
  assert.throws(() => editLabels({ cell: "a" }, edits, false, "c1"), /cluster c1 has the label cell=a; .*--overwrite/);
  assert.deepEqual(editLabels({ cell: "a" }, edits, true, "c1"), { cell: "b", "x.io/tier": "" });
  for (const wrong of [["cell"], ["=a"], ["-"], ["a=b", "a-"], ["a=b", "a=c"], ["a=-b"], ["-a=b"], ["a b-"]])
    assert.throws(() => parseLabelEdits(wrong), /label/, wrong.join());
  assert.deepEqual(parseLabels(["a=b", "c="]), { a: "b", c: "" });
  assert.throws(() => parseLabels(["a-"]), /must be KEY=VALUE/);
  assert.equal(printLabels({ a: "b", c: "" }), "a=b,c=");
  assert.equal(printLabels(undefined), "<none>");
});
