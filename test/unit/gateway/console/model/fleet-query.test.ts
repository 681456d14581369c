import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { filterRows, parseQuery, queryParams, sortKeys, sortRows } from "@claviger/console/src/model/fleet-query.ts";
import { row } from "./rows.ts";

const all = parseQuery(new URLSearchParams());
const names = (rows: readonly { readonly name: string }[]): readonly string[] => rows.map(({ name }) => name);

suite("what is asked of the fleet's table", () => {
  const rows = [
    row("b-prod", { labels: { team: "blue", env: "prod" }, refused: 3 }),
    row("a-prod", { labels: { team: "red", env: "prod" }, state: "suspended", refused: 30 }),
    row("c-dev", { labels: { team: "blue", env: "dev" }, phase: 2 }),
    row("d-dev", { labels: {}, nodes: {} }),
  ];

  test("it stands in the address and comes back from there", () => {
    const query = {
      text: "team=blue x",
      state: "suspended",
      isWrong: true,
      sort: "refused",
      isDescending: true,
    } as const;
    assert.deepEqual(parseQuery(new URLSearchParams(queryParams(query))), query);
    assert.deepEqual(queryParams(all), {});
  });

  test("an order that there is not is that of names", () => {
    assert.equal(parseQuery(new URLSearchParams({ sort: "constructor" })).sort, "name");
  });

  test("every word has to stand in the name or in a label, in any case", () => {
    assert.deepEqual(names(filterRows(rows, { ...all, text: " TEAM=blue  prod" })), ["b-prod"]);
    assert.deepEqual(names(filterRows(rows, { ...all, text: "nothing" })), []);
    assert.equal(filterRows(rows, all).length, rows.length);
  });

  test("states and what is not well are picked out", () => {
    assert.deepEqual(names(filterRows(rows, { ...all, state: "suspended" })), ["a-prod"]);
    assert.deepEqual(names(filterRows(rows, { ...all, isWrong: true })), ["c-dev", "d-dev"]);
  });

  test("what is not known comes last in either order, and equals go by name", () => {
    assert.deepEqual(names(sortRows(rows, { sort: "refused", isDescending: false })), [
      "b-prod",
      "a-prod",
      "c-dev",
      "d-dev",
    ]);
    assert.deepEqual(names(sortRows(rows, { sort: "refused", isDescending: true })), [
      "a-prod",
      "b-prod",
      "c-dev",
      "d-dev",
    ]);
  });

  test("by condition the worst comes first", () => {
    assert.deepEqual(names(sortRows(rows, { sort: "health", isDescending: false })), [
      "c-dev",
      "d-dev",
      "a-prod",
      "b-prod",
    ]);
  });

  test("the youngest key comes first", () => {
    const keys = [
      row("old", { keyCreatedAt: "2025-01-01T00:00:00Z" }),
      row("new", { keyCreatedAt: "2026-01-01T00:00:00Z" }),
    ];
    assert.deepEqual(names(sortRows(keys, { sort: "keyAge", isDescending: false })), ["new", "old"]);
  });

  test("each order has every row once, and touches nothing", () => {
    const before = names(rows);
    for (const sort of sortKeys)
      assert.deepEqual(names(sortRows(rows, { sort, isDescending: true })).toSorted(), before.toSorted(), sort);
    assert.deepEqual(names(rows), before);
  });
});
