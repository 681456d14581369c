// What needs a person: a state in, items out.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import type { GatewayReport } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import type { NodeReport } from "@claviger/gateway-core/src/redis/node-reports.ts";
import { attentionOf, type FleetView } from "../../../../gateway/fleet/src/attention/attention.ts";
import { attentionKinds, severities } from "../../../../gateway/fleet/src/attention/item.ts";
import type { OldKey } from "../../../../gateway/fleet/src/keys/ages.ts";
import { nodesOf } from "../../../../gateway/fleet/src/node-view.ts";
import type { Incomplete } from "../../../../gateway/fleet/src/sightings.ts";
import { gatewayOf, recordOf, reportOf, well } from "./reports.ts";

const now = 1_700_000_000_000;
const second = 1000;
const minute = 60 * second;
const day = 1440 * minute;
const at = now - 20 * second;

/** A life of 30 days of which so many are left. */
function certificate(daysLeft: number): Pick<NodeReport, "certificate"> {
  return { certificate: { serial: "0A1B", notBefore: now - (30 - daysLeft) * day, notAfter: now + daysLeft * day } };
}
function phase(next: 1 | 2 | 3): Pick<NodeReport, "shim"> {
  return { shim: { ...well, phase: next, sinceGood: 900 } };
}
function backend(...isUp: readonly boolean[]): GatewayReport["backends"] {
  return [{ name: "main", addresses: isUp.map((up, i) => ({ address: `https://vault-${i}.test:8200`, isUp: up })) }];
}

/** A service with which nothing is wrong. */
const quiet = { oldKeys: [], registryProblem: "", certificates: [] } as const;

type Row = {
  readonly what: string;
  readonly record?: object;
  readonly nodes?: readonly NodeReport[];
  readonly gateways?: readonly GatewayReport[];
  readonly silent?: readonly string[];
  readonly incomplete?: readonly Incomplete[];
  readonly oldKeys?: readonly Omit<OldKey, "record">[];
  readonly service?: Partial<Pick<FleetView, "registryProblem" | "certificates">>;
  /** `kind target`, and what stands in cause and command. */
  readonly items: readonly (readonly [item: string, cause: RegExp, command: RegExp, since?: number])[];
};

const shimCheck = /^on a of red: claviger-shim --config \/etc\/claviger\/shim\.yaml --check$/;
const gatewayCheck = /^on gateway-1: claviger-gateway --config \/etc\/claviger\/gateway\.yaml --check$/;

const rows: readonly Row[] = [
  { what: "nothing of a fleet that is well", nodes: [reportOf("a", at), reportOf("b", at)], items: [] },
  {
    what: "a shim in the third phase",
    nodes: [reportOf("a", at, phase(3)), reportOf("b", at)],
    items: [["writes_stopped red/a", /stops writing/, shimCheck, at - 900 * second]],
  },
  {
    what: "a shim in the second phase",
    nodes: [reportOf("a", at, phase(2))],
    items: [["outage_degraded red/a", /healthz names the cause/, shimCheck, at - 900 * second]],
  },
  {
    what: "a shim in the first phase",
    nodes: [reportOf("a", at, phase(1))],
    items: [["outage red/a", /goes on with the last key_id/, shimCheck, at - 900 * second]],
  },
  {
    what: "all nodes of a cluster with one cause are one item, since the first of them",
    nodes: ["a", "b", "c", "d"].map((name, i) => reportOf(name, at - i * second, phase(3))),
    items: [["writes_stopped red", /^a, b, c and 1 more, each: no gateway/, shimCheck, at - 903 * second]],
  },
  {
    what: "a certificate that was not renewed when it should have been",
    nodes: [reportOf("a", at, certificate(8))],
    items: [
      [
        "certificate_expiring red/a",
        /not renewed at two thirds/,
        /^claviger node token red\/a --reason/,
        now - 2 * day,
      ],
    ],
  },
  { what: "nothing of one that is about to be renewed", nodes: [reportOf("a", at, certificate(9))], items: [] },
  {
    what: "a certificate that has expired, and not that its node is not seen",
    nodes: [reportOf("a", now - 3 * day, certificate(-2))],
    items: [["certificate_expired red/a", /has expired/, /^claviger node token red\/a/, now - 2 * day]],
  },
  {
    what: "an outage before a certificate that expires",
    nodes: [reportOf("a", at, { ...phase(3), ...certificate(1) })],
    items: [["writes_stopped red/a", /./, shimCheck, at - 900 * second]],
  },
  {
    what: "a node that is expected and was never seen",
    record: { nodes: { expected: ["a", "b"] } },
    nodes: [reportOf("b", at)],
    items: [["node_missing red/a", /expects it, and no gateway has seen it/, /^claviger node token red\/a/]],
  },
  {
    what: "nothing of it while Redis is young",
    record: { nodes: { expected: ["a", "b"] } },
    incomplete: [{ kind: "young", text: "for 5 s" }],
    gateways: [],
    items: [],
  },
  {
    what: "a node that was not seen for ten minutes",
    nodes: [reportOf("a", now - 10 * minute), reportOf("b", now - 9 * minute)],
    items: [["node_not_seen red/a", /no gateway has answered its Status lately/, shimCheck, now - 10 * minute]],
  },
  {
    what: "a node that was up until it was revoked, for ten minutes",
    record: { nodes: { revoked: ["a", "b"] } },
    nodes: [reportOf("a", at), reportOf("b", now - 10 * minute)],
    items: [["node_revoked red/a", /encrypts and decrypts nothing/, /^claviger node allow red\/a --reason/, at]],
  },
  {
    what: "nothing of revoked and unexpected nodes",
    record: { nodes: { expected: ["b"], revoked: ["a"] } },
    nodes: [reportOf("a", now - day), reportOf("b", at), reportOf("c", now - day)],
    items: [],
  },
  ...(["suspended", "decrypt-only"] as const).map(
    (state): Row => ({
      what: `nothing of the nodes of a cluster that is ${state}`,
      record: { state, nodes: { expected: ["a", "b"] } },
      nodes: [reportOf("a", now - day, phase(3))],
      items: [],
    }),
  ),
  {
    what: "no gateway at all",
    gateways: [],
    items: [["no_gateway fleet", /no gateway has reported itself/, /^on a gateway: claviger-gateway/]],
  },
  {
    what: "a Redis that cannot be read, and not that there is no gateway",
    gateways: [],
    incomplete: [{ kind: "away", text: "Redis is away" }],
    items: [["nodes_unknown fleet", /^Redis is away$/, /^on a gateway: claviger-gateway/]],
  },
  {
    what: "nothing of a fleet service without Redis",
    gateways: [],
    incomplete: [{ kind: "none", text: "no Redis" }],
    items: [],
  },
  {
    what: "values that no gateway has signed",
    incomplete: [{ kind: "refused", text: "2 values" }],
    items: [["foreign_values fleet", /^2 values$/, /^on Redis: redis-cli ACL LOG$/]],
  },
  {
    what: "a backend of which no address serves, once for all gateways, and not again as a problem of /readyz",
    gateways: [
      gatewayOf(at, { backends: backend(false, false), problems: { "backend/main": "backend_unavailable" } }),
      gatewayOf(at, { name: "gateway-2:8443", backends: backend(false, false) }),
      gatewayOf(at, { name: "gateway-3:8443", backends: backend(true, false) }),
    ],
    items: [["backend_down main", /say 2 of 3 gateways/, gatewayCheck]],
  },
  {
    what: "what is not ok in a gateway's /readyz, but for one that stops",
    gateways: [gatewayOf(at, { problems: { process: "draining", audit: "no sink takes records" } })],
    items: [["gateway_problem gateway-1:8443", /^audit: no sink takes records$/, gatewayCheck]],
  },
  {
    what: "a gateway's certificate that expires",
    gateways: [gatewayOf(at, { certificates: [{ role: "server", problem: "expires in 2 h" }] })],
    items: [["gateway_certificate gateway-1:8443", /^server: expires in 2 h$/, gatewayCheck]],
  },
  {
    what: "a token that nothing renews, a day before its end, and no other",
    gateways: [
      gatewayOf(at, { backends: [{ name: "main", addresses: [], login: { until: now + day / 2, isLast: true } }] }),
      gatewayOf(at, {
        name: "g2:1",
        backends: [{ name: "main", addresses: [], login: { until: now + 2 * day, isLast: true } }],
      }),
      gatewayOf(at, {
        name: "g3:1",
        backends: [{ name: "main", addresses: [], login: { until: now + 1, isLast: false } }],
      }),
    ],
    items: [
      ["gateway_login gateway-1:8443", /for main cannot be renewed and ends at 2023-11-15T10:13:20/, gatewayCheck],
    ],
  },
  {
    what: "a gateway that says nothing any more, and nothing of what it said",
    gateways: [gatewayOf(at, { name: "g2:1" }), gatewayOf(now - minute, { backends: backend(false), eventLoop: 1 })],
    items: [["gateway_not_seen gateway-1:8443", /has not said that it stops/, gatewayCheck, now - minute]],
  },
  {
    what: "a version of a cluster's key that does not decrypt or encrypt, once for all gateways",
    gateways: ["g1:1", "g2:1", "g3:1", "g4:1"].map((name) =>
      gatewayOf(at, {
        name,
        keyFailures: [
          { key: "main:transit/red", version: 1, what: "decrypt" },
          { key: "main:transit/another", version: 2, what: "decrypt" },
        ],
      }),
    ),
    items: [
      [
        "key_broken red",
        /^version 1 of its key does not decrypt what it has encrypted: .*, say g1:1, g2:1, g3:1 and 1 more$/,
        /^claviger key status red$/,
      ],
    ],
  },
  {
    what: "a version that could not be made to encrypt",
    gateways: [gatewayOf(at, { keyFailures: [{ key: "main:transit/red", version: 3, what: "promote" }] })],
    items: [["key_not_promoted red", /^version 3 .* the one before it goes on, say gateway-1:8443$/, /^claviger key/]],
  },
  {
    what: "a key that is older than the policy allows",
    oldKeys: [{ version: 4, since: now - 100 * day, maxAgeMs: 90 * day }],
    items: [
      ["key_old red", /^version 4 .* 100 days old; the policy allows 90$/, /^claviger key rotate red/, now - 10 * day],
    ],
  },
  {
    what: "a gateway that says nothing new, whatever its clock says",
    gateways: [gatewayOf(at, { name: "g2:1" }), gatewayOf(at, { backends: backend(false) })],
    silent: ["gateway-1:8443"],
    items: [["gateway_not_seen gateway-1:8443", /has not said that it stops/, gatewayCheck, at]],
  },
  {
    what: "records that cannot be used, and certificates of the service that expire",
    service: {
      registryProblem: "blue: keys must list exactly one key",
      certificates: [
        { role: "server", level: "expiring", text: "expires in 2 h" },
        { role: "client_ca", level: "ok", text: "ok" },
      ],
    },
    items: [
      ["registry_problem fleet", /^blue: keys must list/, /^claviger cluster list$/],
      ["service_certificate fleet", /^server of the fleet service: expires in 2 h$/, /claviger-fleet .* --check$/],
    ],
  },
  {
    what: "a gateway without time to spare",
    gateways: [gatewayOf(at, { eventLoop: 0.93 })],
    items: [["gateway_busy gateway-1:8443", /works 93 % of the time/, /scale deployment/]],
  },
];

suite("attention", () => {
  for (const {
    what,
    record,
    nodes = [],
    gateways = [gatewayOf(at)],
    silent = [],
    incomplete = [],
    oldKeys = [],
    service,
    items,
  } of rows)
    test(what, () => {
      const one = recordOf(record);
      const clusters = [{ record: one, nodes: nodesOf(one, nodes, incomplete.length === 0, now) }];
      const old = oldKeys.map((key) => ({ record: one, ...key }));
      const found = attentionOf(
        { ...quiet, clusters, gateways, silent: new Set(silent), incomplete, oldKeys: old, ...service },
        now,
      );
      assert.deepEqual(
        found.map(({ kind, target }) => `${kind} ${target}`),
        items.map(([item]) => item),
      );
      for (const [i, [, cause, command, since]] of items.entries()) {
        assert.match(found[i]?.cause ?? "", cause);
        assert.match(found[i]?.command ?? "", command);
        assert.equal(found[i]?.since, since);
      }
    });

  test("docs/control-plane.md has every kind with its severity, in this order", () => {
    const text = readFileSync(join(import.meta.dirname, "..", "..", "..", "..", "docs", "control-plane.md"), "utf8");
    const documented = [...text.matchAll(/^\| `(\w+)` \| (critical|warning) \|/gm)].map(
      ([, kind, severity]) => `${kind} ${severity}`,
    );
    assert.deepEqual(
      documented,
      attentionKinds.map((kind) => `${kind} ${severities[kind]}`),
    );
  });

  test("every kind has a row", () => {
    const seen = new Set(rows.flatMap(({ items }) => items.map(([item]) => item.split(" ", 1).join())));
    assert.deepEqual([...seen].toSorted(), attentionKinds.toSorted());
  });

  test("the most urgent comes first, and of one kind what has lasted longest", () => {
    const cluster = (name: string, fields: Partial<NodeReport>) => {
      const record = recordOf({ name });
      return { record, nodes: nodesOf(record, [reportOf("a", at, fields)], true, now) };
    };
    const long = { shim: { ...well, phase: 3, sinceGood: 5000 } } as const;
    const clusters = [
      cluster("one", phase(1)),
      cluster("two", phase(3)),
      cluster("three", certificate(5)),
      cluster("four", long),
      cluster("five", phase(3)),
    ];
    const found = attentionOf(
      { clusters, gateways: [gatewayOf(at, { eventLoop: 1 })], silent: new Set(), incomplete: [], ...quiet },
      now,
    );
    assert.deepEqual(
      found.map(({ severity, target }) => `${severity} ${target}`),
      [
        "critical four/a",
        "critical five/a",
        "critical two/a",
        "warning three/a",
        "warning one/a",
        "warning gateway-1:8443",
      ],
    );
  });
});
