import assert from "node:assert/strict";
import { test } from "node:test";
import { describeProblem } from "@claviger/gateway-core/src/redis/problem.ts";

function withCode(code: string): Error {
  return Object.assign(new Error("the library's words"), { code });
}

test("a certificate that is not accepted is said in words, with the code", () => {
  assert.match(describeProblem(withCode("CERT_HAS_EXPIRED")) ?? "", /expired.*\(CERT_HAS_EXPIRED\)$/);
  assert.match(describeProblem(withCode("UNABLE_TO_GET_ISSUER_CERT_LOCALLY")) ?? "", /CA.*\(UNABLE_TO_GET_ISSUER/);
});

test("a code that nobody knows is said as it is", () => {
  assert.equal(describeProblem(withCode("ESOMETHING")), "ESOMETHING");
});

test("an answer that is not Redis' is told from a Redis that refuses", () => {
  const parser = new Error('Unknown RESP type 21 "\u0015". Please report this.');
  assert.match(describeProblem(parser) ?? "", /does not speak the protocol/);
  assert.match(describeProblem(new Error("NOPERM this user has no permissions")) ?? "", /ACL/);
});

test("that there is no connection is no reason, and what a value says is never repeated", () => {
  assert.equal(describeProblem(new Error("Connection is closed.")), undefined);
  assert.equal(describeProblem(new Error("secret value")), "it does not work");
});
