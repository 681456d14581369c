// Who a certificate says that it is, name by name: everything that is not exactly ours is nobody.
import assert from "node:assert/strict";
import type { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { readIdentity } from "@claviger/gateway-core/src/identity.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { trustDomain } from "@claviger/proto/wire/names.ts";

const ours = trustDomain.parse("fleet.test");
const node = "spiffe://fleet.test/cluster/prod/node/cp-1";
function certificateOf(subjectAltName: string | undefined): X509Certificate {
  return {
    subjectAltName,
    serialNumber: "0A1B",
    validFrom: "Nov 25 12:00:00 2026 GMT",
    validTo: "Nov 26 12:00:00 2026 GMT",
  } as X509Certificate;
}
const common = {
  serial: "0A1B",
  notBefore: Date.parse("2026-11-25T12:00:00Z"),
  notAfter: Date.parse("2026-11-26T12:00:00Z"),
};

test("a node and an operator are who their one URI name says, other kinds of names beside it or not", () => {
  for (const names of [`URI:${node}`, `DNS:cp-1.example, URI:${node}`, `URI:${node}, IP Address:10.0.0.1`])
    assert.deepEqual(readIdentity(certificateOf(names), ours), {
      kind: "node",
      cluster: "prod",
      node: "cp-1",
      ...common,
    });
  assert.deepEqual(readIdentity(certificateOf("URI:spiffe://fleet.test/operator/alice"), ours), {
    kind: "operator",
    operator: "alice",
    ...common,
  });
});

const rules = "a cluster, node or operator name that breaks the rules";
const form = "a URI name of another form";
const foreign = "a foreign trust domain";
const nobody: readonly (readonly [names: string | undefined, why: string])[] = [
  [undefined, "0 URI names, 1 is needed"],
  ["", "0 URI names, 1 is needed"],
  ["DNS:cp-1.example", "0 URI names, 1 is needed"],
  [`DNS:${node}`, "0 URI names, 1 is needed"],
  [`URI:${node}, URI:${node}`, "2 URI names, 1 is needed"],
  [`URI:${node}, URI:https://elsewhere.test`, "2 URI names, 1 is needed"],
  [`URI:"${node}"`, "a subject alternative name with special characters"],
  [`URI:${node}, DNS:"a, URI:b"`, "a subject alternative name with special characters"],
  ["URI:https://fleet.test/cluster/prod/node/cp-1", form],
  [`URI:${node}/x`, form],
  [`URI:x${node}`, form],
  ["URI:spiffe://fleet.test/cluster/prod", form],
  ["URI:spiffe://fleet.test/cluster//node/cp-1", form],
  ["URI:spiffe://fleet.test/gateway/one", form],
  ["URI:spiffe://evil-fleet.test/cluster/prod/node/cp-1", foreign],
  ["URI:spiffe://fleet.test.evil/cluster/prod/node/cp-1", foreign],
  ["URI:spiffe://x.fleet.test/cluster/prod/node/cp-1", foreign],
  ["URI:spiffe://FLEET.test/cluster/prod/node/cp-1", foreign],
  ["URI:spiffe://other.test/operator/alice", foreign],
  ["URI:spiffe://fleet.test/cluster/Prod/node/cp-1", rules],
  ["URI:spiffe://fleet.test/cluster/prod/node/CP_1", rules],
  ["URI:spiffe://fleet.test/operator/Alice!", rules],
];

for (const [names, why] of nobody)
  test(`nobody: ${names}`, () => {
    assert.throws(
      () => readIdentity(certificateOf(names), ours),
      (error) => {
        assert.ok(error instanceof KmsError && error.cause instanceof Error);
        assert.deepEqual([error.reason, error.cause.message], ["identity_invalid", why]);
        return true;
      },
    );
  });
