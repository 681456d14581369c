import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { suite, test } from "node:test";
import type { Outcome } from "@claviger/gateway-core/src/backend/port.ts";
import { decodeBase64, encodeBase64, encodedLength } from "@claviger/gateway-core/src/backend/vault/base64.ts";
import {
  buildDecrypt,
  buildEncrypt,
  readDecrypt,
  readEncrypt,
} from "@claviger/gateway-core/src/backend/vault/transit.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";

function bytes(text: string): Buffer {
  return Buffer.from(text, "latin1");
}
function reply(status: number, body: unknown) {
  return { status, body: bytes(typeof body === "string" ? body : JSON.stringify(body)) };
}
function results(...list: readonly object[]) {
  return { request_id: "r1", data: { batch_results: list } };
}
function reasons(outcomes: readonly Outcome<unknown>[]) {
  return outcomes.map((outcome) => (outcome.ok ? "ok" : outcome.error.reason));
}
function throwsReason(run: () => unknown, reason: string): void {
  assert.throws(run, (error: unknown) => error instanceof KmsError && error.reason === reason);
}
const aad = bytes("aad");

suite("base64 between buffers", () => {
  test("writes what Node writes and reads it back, for every length", () => {
    for (let length = 0; length < 200; length++) {
      const source = randomBytes(length);
      const text = Buffer.alloc(encodedLength(length) + 2);
      assert.equal(encodeBase64(source, text, 1), text.length - 1);
      assert.equal(text.subarray(1, -1).toString("latin1"), source.toString("base64"));
      assert.deepEqual(decodeBase64(text.subarray(1, -1)), source);
    }
  });

  test("refuses what no encoder writes", () => {
    for (const text of [
      "A",
      "AB",
      "ABC",
      "A===",
      "====",
      "AB=C",
      "AA=A",
      "AB==",
      "ABF=",
      "AA==AAAA",
      "AAA\n",
      "AA-_",
      "AAAA=",
      " AAA",
      "AAé=",
    ])
      assert.equal(decodeBase64(bytes(text)), undefined, text);
  });
});

suite("Transit by bytes", () => {
  test("a request says what its items say", () => {
    const items = [1, 2, 128].map((size, i) => ({ plaintext: randomBytes(size), associatedData: aad, version: i + 1 }));
    assert.deepEqual(JSON.parse(buildEncrypt(items).toString()), {
      batch_input: items.map(({ plaintext, version }) => ({
        plaintext: plaintext.toString("base64"),
        associated_data: aad.toString("base64"),
        key_version: version,
      })),
    });
    assert.deepEqual(
      JSON.parse(buildDecrypt([{ ciphertext: bytes("xyz"), associatedData: aad, version: 7 }]).toString()),
      {
        batch_input: [
          { ciphertext: `vault:v7:${bytes("xyz").toString("base64")}`, associated_data: aad.toString("base64") },
        ],
      },
    );
  });

  test("plaintexts are taken out of a reply in order, and nothing of them stays in it", () => {
    const secrets = [1, 32, 128].map((size) => randomBytes(size));
    const texts = secrets.map((secret) => secret.toString("base64"));
    const spaced = `{"request_id":"r1","data":{"batch_results":[${texts.map((text) => `{"plaintext" :\r\n\t "${text}"}`).join(" , ")}]}}`;
    for (const body of [reply(200, spaced), reply(200, results(...texts.map((plaintext) => ({ plaintext }))))]) {
      const outcomes = readDecrypt(body, 3);
      assert.deepEqual(
        outcomes.map((outcome) => outcome.ok && Buffer.from(outcome.value.plaintext).toString("base64")),
        texts,
      );
      assert.ok(body.body.every((byte) => byte === 0));
    }
  });

  test("no plaintext of a reply becomes a string, also where the reply is cut short", () => {
    const text = randomBytes(32).toString("base64");
    const whole = JSON.stringify(results({ plaintext: text }));
    for (const sent of [whole, whole.slice(0, whole.indexOf(text) + 20)]) {
      const { status, body } = reply(200, sent);
      const strings: string[] = [];
      body.toString = (encoding) => {
        strings.push(Buffer.concat([body]).toString(encoding));
        return strings.at(-1) ?? "";
      };
      try {
        readDecrypt({ status, body }, 1);
      } catch (error) {
        assert.ok(error instanceof KmsError);
      }
      assert.equal(strings.length, 1);
      assert.ok(!strings.join().includes(text.slice(0, 8)), strings.join());
    }
  });

  test("plaintexts of a reply that is refused are zeroized", (t) => {
    const list = Array.from({ length: 3 }, () => ({ plaintext: randomBytes(32).toString("base64") }));
    const sent = reply(200, results(...list));
    const given: Buffer[] = [];
    const from: (source: ArrayBuffer) => Buffer = Buffer.from.bind(Buffer);
    t.mock.method(Buffer, "from", (source: ArrayBuffer) => {
      given.push(from(source));
      return given.at(-1);
    });
    throwsReason(() => readDecrypt(sent, 4), "backend_protocol_error");
    assert.equal(given.length, 3);
    assert.ok(given.every((bytes) => bytes.length === 32 && bytes.every((byte) => byte === 0)));
  });

  test("an item without a plaintext gets none of another item's", () => {
    const plaintext = randomBytes(32).toString("base64");
    for (const lack of [{}, { plaintext: "" }, { plaintext: " " }]) {
      const outcomes = readDecrypt(reply(200, results(lack, { plaintext })), 2);
      assert.deepEqual(reasons(outcomes), ["backend_protocol_error", "ok"]);
      assert.ok(outcomes[1]?.ok === true);
      assert.equal(Buffer.from(outcomes[1].value.plaintext).toString("base64"), plaintext);
    }
  });

  test("a field of that name elsewhere, without a text, changes nothing", () => {
    const plaintext = randomBytes(32).toString("base64");
    for (const other of [{ warnings: ["plaintext"] }, { auth: { plaintext: null, is: "x" } }])
      assert.deepEqual(reasons(readDecrypt(reply(200, { ...other, ...results({ plaintext }) }), 1)), ["ok"]);
  });

  test("a result names Vault's request, where the reply does", () => {
    const item = { plaintext: randomBytes(32), associatedData: aad, version: 3 };
    for (const [named, expected] of [
      [{}, [undefined]],
      [{ request_id: "r7" }, ["r7"]],
    ] as const) {
      const answer = (result: object) => reply(200, { ...named, data: { batch_results: [result] } });
      for (const outcomes of [
        readEncrypt(answer({ ciphertext: "vault:v3:AAAA" }), [item]),
        readDecrypt(answer({ plaintext: "AAAA" }), 1),
      ]) {
        assert.deepEqual(
          outcomes.map((outcome) => outcome.ok && outcome.value.requestId),
          expected,
        );
        assert.deepEqual(
          outcomes.map((outcome) => outcome.ok && "requestId" in outcome.value),
          [expected[0] !== undefined],
        );
      }
    }
  });

  test("the page of a proxy says nothing of keys and permissions, whatever its status", () => {
    for (const status of [400, 403, 404])
      throwsReason(() => readDecrypt(reply(status, "<html>not here</html>"), 1), "backend_protocol_error");
  });

  test("one bad item fails alone, in a 400 too", () => {
    const plaintext = randomBytes(32).toString("base64");
    const list = results(
      { plaintext },
      { plaintext: "", error: "cipher: message authentication failed" },
      { plaintext },
    );
    for (const status of [200, 400])
      assert.deepEqual(reasons(readDecrypt(reply(status, list), 3)), ["ok", "ciphertext_invalid", "ok"]);
  });

  test("a plaintext that is no base64, is missing, or a number of Vault's own is no result", () => {
    const list = results({ plaintext: "AB==" }, {}, { plaintext: "\\u0041" }, { plaintext: 0 });
    assert.deepEqual(
      reasons(readDecrypt(reply(200, results(...list.data.batch_results.slice(0, 3))), 3)),
      Array(3).fill("backend_protocol_error"),
    );
    throwsReason(() => readDecrypt(reply(200, list), 4), "backend_protocol_error");
  });

  test("a reply that is cut short, of another count or no JSON is no result, and is zeroized", () => {
    const text = JSON.stringify(results({ plaintext: randomBytes(32).toString("base64") }));
    for (const [body, count] of [
      [text.slice(0, 70), 1],
      [text, 2],
      ["<html>", 1],
      ["", 1],
    ] as const) {
      const given = reply(200, body);
      throwsReason(() => readDecrypt(given, count), "backend_protocol_error");
      assert.ok(given.body.every((byte) => byte === 0));
    }
  });

  test("another version than the one asked for is never a result", () => {
    const item = { plaintext: randomBytes(32), associatedData: aad, version: 3 };
    const answer = (ciphertext: string) => reasons(readEncrypt(reply(200, results({ ciphertext })), [item]));
    assert.deepEqual(answer("vault:v3:AAAA"), ["ok"]);
    for (const ciphertext of [
      "vault:v2:AAAA",
      "vault:v4:AAAA",
      "vault:v3:",
      "vault:v3:AB==",
      "vault:3:AAAA",
      "AAAA",
      "vault:v03x:AAAA",
    ])
      assert.deepEqual(answer(ciphertext), ["backend_protocol_error"], ciphertext);
  });

  test("a refused call has the reason of its status", () => {
    const said = (text: string) => ({ errors: [text] });
    const cases = [
      [403, said("permission denied"), "backend_denied"],
      [404, said(""), "key_missing"],
      [404, said('no handler for route "transit/keys/a". route entry not found.'), "backend_unavailable"],
      [400, said("encryption key not found"), "key_missing"],
      [400, said("invalid"), "request_malformed"],
      [418, said("teapot"), "backend_protocol_error"],
    ] as const;
    for (const [status, body, reason] of cases) throwsReason(() => readDecrypt(reply(status, body), 1), reason);
  });

  test("an item's error is sorted: below the lower bound, key version gone, tampered", () => {
    const item = { plaintext: randomBytes(32), associatedData: aad, version: 1 };
    const below = results({
      error: "requested version for encryption is less than the minimum encryption key version",
    });
    assert.deepEqual(reasons(readEncrypt(reply(400, below), [item])), ["request_malformed"]);
    const retired = results({ error: "ciphertext or signature version is disallowed by policy (too old)" });
    assert.deepEqual(reasons(readDecrypt(reply(400, retired), 1)), ["key_missing"]);
  });

  test("what Vault says in an error is kept short and without anything that could be a secret", () => {
    const token = `hvs.${"x".repeat(90)}`;
    try {
      readDecrypt(reply(403, { errors: [`bad token ${token} ${"words ".repeat(200)}`] }), 1);
      assert.fail("it should have failed");
    } catch (error) {
      assert.ok(error instanceof KmsError && error.cause instanceof Error);
      assert.ok(!error.cause.message.includes("xxxx") && error.cause.message.length < 330);
    }
  });
});
