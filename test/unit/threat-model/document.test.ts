// What is compared with docs/threat-model.md, and that a difference shows.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { differences, piecesOf, render } from "../../threat-model/document.ts";
import { type Cell, type Finding, giving, type Row, tested, verdictOf } from "../../threat-model/row.ts";

function finding(gives: Finding["gives"], succeeded: boolean): readonly Finding[] {
  return giving(gives, [{ did: "a disk searched", result: succeeded ? "raw: some" : "raw: 0", succeeded }]);
}
function rowWith(disk: Cell, name = "A row"): Row {
  const absent: Cell = { kind: "absent", why: "there is none" };
  return {
    name,
    setUp: "Set up so.",
    cells: { disk, ram: { kind: "untested", why: "no" }, etcd: absent, apiServer: absent, kmsServer: absent },
  };
}

suite("the threat model's document", () => {
  test("a cell says what its findings give, the Secret before its key", () => {
    const [no, secret, key] = [finding("the Secret", false), finding("the Secret", true), finding("the key", true)];
    assert.equal(verdictOf(tested(no)), "not found");
    assert.equal(verdictOf(tested(no, key)), "not found, but **its key**");
    assert.equal(verdictOf(tested(no, key, secret)), "**readable**");
    assert.equal(
      verdictOf(tested(no, finding("the Secret while mounted", true))),
      "not found; **readable** while mounted",
    );
  });

  const pieces = piecesOf([rowWith(tested(finding("the Secret", false)))]);
  test("a document is what was found", () => assert.deepEqual(differences(render(pieces), pieces, true), []));

  test("another finding, another row and other words differ", () => {
    const found = piecesOf([rowWith(tested(finding("the Secret", true)))]);
    assert.equal(differences(render(pieces), found, false).length, 2);
    const more = piecesOf([rowWith(tested(finding("the Secret", false))), rowWith(tested([]), "Another")]);
    assert.equal(differences(render(pieces), more, false).length, 2);
    assert.deepEqual(differences(render(more), pieces, false), []);
    assert.equal(differences(render(more), pieces, true).length, 1);
    assert.equal(differences(`${render(pieces)}more\n`, pieces, true).length, 1);
  });

  test("a stand-in is compared with nothing, the rows beside it are", () => {
    const standIn = { ...rowWith(tested(finding("the Secret", true)), "Another"), isStandIn: true };
    assert.deepEqual(
      differences(render(pieces), piecesOf([rowWith(tested(finding("the Secret", false))), standIn]), true),
      [],
    );
    assert.equal(
      differences(render(pieces), piecesOf([rowWith(tested(finding("the Secret", true))), standIn]), true).length,
      2,
    );
  });
});
