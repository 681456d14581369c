// What is compared with docs/threat-model.md, and that a difference shows.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { differences, piecesOf, render } from "../../threat-model/document.ts";
import { merge } from "../../threat-model/evidence.ts";
import { type Cell, type Finding, giving, type Row, tested, verdictOf } from "../../threat-model/row.ts";
import { doesNotGet, gets, readSecurity, type Shown, succeeds, untested } from "../../threat-model/standing.ts";

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

  const pieces = piecesOf([rowWith(tested(finding("the Secret", false)))], []);
  test("a document is what was found", () => assert.deepEqual(differences(render(pieces), pieces, true), []));

  test("another finding, another row and other words differ", () => {
    const found = piecesOf([rowWith(tested(finding("the Secret", true)))], []);
    assert.equal(differences(render(pieces), found, false).length, 2);
    const more = piecesOf([rowWith(tested(finding("the Secret", false))), rowWith(tested([]), "Another")], []);
    assert.equal(differences(render(pieces), more, false).length, 2);
    assert.deepEqual(differences(render(more), pieces, false), []);
    assert.equal(differences(render(more), pieces, true).length, 1);
    assert.equal(differences(`${render(pieces)}more\n`, pieces, true).length, 1);
  });

  test("a stand-in is compared with nothing, the rows beside it are", () => {
    const standIn = { ...rowWith(tested(finding("the Secret", true)), "Another"), isStandIn: true };
    assert.deepEqual(
      differences(render(pieces), piecesOf([rowWith(tested(finding("the Secret", false))), standIn], []), true),
      [],
    );
    assert.equal(
      differences(render(pieces), piecesOf([rowWith(tested(finding("the Secret", true))), standIn], []), true).length,
      2,
    );
  });

  const said = { holds: "a disk", gets: "a name", doesNotGet: "a key" };
  const evidence = (succeeded: boolean) => ({ did: "tried", result: "so", succeeded });
  const lineFor = (...shown: readonly Shown[]): string =>
    piecesOf([], [{ ...said, shown }]).attackers[0]?.line.split("a disk ")[1] ?? "";
  test("a claim is shown when the evidence is what it says, a control when it succeeds", () => {
    assert.equal(
      lineFor(...gets(evidence(true)), ...doesNotGet(evidence(false)), ...succeeds(evidence(true))),
      "| a name | yes | a key | yes |",
    );
    assert.match(lineFor(...gets(evidence(false)), ...doesNotGet(evidence(false))), /name \| \*\*no.* a key \| yes/);
    assert.match(lineFor(...gets(evidence(true)), ...doesNotGet(evidence(true))), /name \| yes .* a key \| \*\*no/);
    assert.match(lineFor(...doesNotGet(evidence(false)), ...succeeds(evidence(false))), /a key \| \*\*no/);
    assert.equal(
      lineFor(...untested("gets", "x", "why"), ...doesNotGet(evidence(false)), ...untested("does not get", "y", "why")),
      "| a name | not tested here | a key | in part |",
    );
  });

  test("SECURITY.md's table is read row by row", () => {
    const text =
      "# S\n\n## Where an attacker may stand\n\n| holds | gets | does not get |\n|---|---|---|\n| a | b | c |\n| d | e | f |\n\n## More\n\n| x | y | z |\n";
    assert.deepEqual(readSecurity(text), [
      { holds: "a", gets: "b", doesNotGet: "c" },
      { holds: "d", gets: "e", doesNotGet: "f" },
    ]);
    assert.throws(() => readSecurity("# S\n"));
    assert.ok(readSecurity().length >= 15);
  });

  test("what was looked for in one place with one result is one line, and nothing else is", () => {
    const search = (place: string, what: string, result = "raw: 0") => ({
      did: `${place} searched for ${what}`,
      searched: { place, what },
      result,
      succeeded: false,
    });
    const merged = merge(
      [
        search("a disk", "a"),
        search("a disk", "b"),
        search("a disk", "c", "raw: some"),
        search("memory", "d"),
        evidence(true),
        evidence(true),
      ],
      () => true,
    );
    assert.deepEqual(
      merged.map(({ did }) => did),
      ["a disk searched for a; b", "a disk searched for c", "memory searched for d", "tried", "tried"],
    );
    assert.equal(merge([search("a disk", "a"), search("a disk", "b")], () => false).length, 2);
  });
});
