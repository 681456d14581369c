// Record and reports together: each node in one condition.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { NodeReport } from "@claviger/gateway-core/src/redis/node-reports.ts";
import { lifeLeft, nodesOf } from "../../../../gateway/fleet/src/node-view.ts";
import { recordOf, reportOf, well } from "./reports.ts";

const now = 1_700_000_000_000;
const second = 1000;
const at = now - 30 * second;

type Row = {
  readonly what: string;
  readonly nodes?: object;
  readonly reports?: readonly NodeReport[];
  readonly isComplete?: boolean;
  readonly is: Readonly<Record<string, string>>;
};

const rows: readonly Row[] = [
  { what: "a cluster of which nothing is known has no nodes", is: {} },
  { what: "one that was seen lately without an outage", reports: [reportOf("a", at)], is: { a: "ok" } },
  {
    what: "one in an outage, whatever the phase",
    reports: ([1, 2, 3] as const).map((phase) => reportOf(`p${phase}`, at, { shim: { ...well, phase } })),
    is: { p1: "outage", p2: "outage", p3: "outage" },
  },
  {
    what: "one that was well, and was not seen for three minutes",
    reports: [reportOf("a", now - 179 * second), reportOf("b", now - 180 * second)],
    is: { a: "ok", b: "not_seen" },
  },
  {
    what: "one in an outage that was not seen for three minutes",
    reports: [reportOf("a", now - 200 * second, { shim: { ...well, phase: 3 } })],
    is: { a: "not_seen" },
  },
  {
    what: "a shim of 0.1.0, which does not say how it is",
    reports: [reportOf("a", at, { shim: undefined })],
    is: { a: "unknown" },
  },
  {
    what: "expected nodes, one of which was never seen",
    nodes: { expected: ["a", "b"] },
    reports: [reportOf("a", at)],
    is: { a: "ok", b: "missing" },
  },
  {
    what: "expected nodes, where reports may be missing",
    nodes: { expected: ["a", "b"] },
    reports: [reportOf("a", at)],
    isComplete: false,
    is: { a: "ok", b: "unknown" },
  },
  {
    what: "a node that the record does not expect any more",
    nodes: { expected: ["a"] },
    reports: [reportOf("a", at), reportOf("b", at)],
    is: { a: "ok", b: "unexpected" },
  },
  {
    what: "revoked nodes, seen and not, also where reports are missing",
    nodes: { revoked: ["a", "b"] },
    reports: [reportOf("a", at)],
    isComplete: false,
    is: { a: "revoked", b: "revoked" },
  },
  {
    what: "a node whose certificate is revoked, and one that has another by now",
    nodes: { revokedSerials: ["0a1b"] },
    reports: [
      reportOf("a", at),
      reportOf("b", at, { certificate: { serial: "0A1C", notBefore: 0, notAfter: now + second } }),
    ],
    is: { a: "revoked", b: "ok" },
  },
  {
    what: "a gateway's clock that is ahead",
    reports: [reportOf("a", now + 60 * second)],
    is: { a: "ok" },
  },
];

suite("the condition of nodes", () => {
  for (const { what, nodes, reports = [], isComplete = true, is } of rows)
    test(what, () => {
      const views = nodesOf(recordOf(nodes === undefined ? {} : { nodes }), reports, isComplete, now);
      assert.deepEqual(Object.fromEntries(views.map(({ node, condition }) => [node, condition])), is);
      assert.ok(views.every(({ ageMs = 0 }) => ageMs >= 0));
      for (const { revoked, condition } of views) assert.equal(revoked, condition === "revoked");
    });
});

test("of a certificate's life the share that is left is told, none where it is over", () => {
  const left = (notBefore: number, notAfter: number): number =>
    lifeLeft(reportOf("a", at, { certificate: { serial: "1", notBefore, notAfter } }), now);
  assert.equal(left(now - 3, now + 1), 0.25);
  assert.equal(left(now - 3, now - 1), 0);
  assert.equal(left(now, now), 0);
});
