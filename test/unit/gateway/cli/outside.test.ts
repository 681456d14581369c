import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { codeOf, fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { connectionProblem } from "@claviger/cli/src/outside.ts";

function failed(code: string): Error {
  return Object.assign(new Error("x"), { code });
}

test("what the system says of a file has its code and words with it", async () => {
  const error: unknown = await readFile("/nowhere/x").catch((thrown: unknown) => thrown);
  assert.equal(fileProblem(error), "ENOENT: there is no such file or directory");
  for (const [code, words] of [
    ["ENOSPC", "the disk is full"],
    ["EDQUOT", "the user's quota of the disk is used up"],
    ["EROFS", "its file system is read-only"],
    ["EMFILE", "this process has too many files open"],
    ["EACCES", "this user may not; run this as one who may"],
  ] as const)
    assert.equal(fileProblem(failed(code)), `${code}: ${words}`);
  assert.equal(fileProblem(failed("EWEIRD")), "EWEIRD");
  assert.equal(fileProblem(new Error("x")), "unknown error");
});

test("what the system, undici and OpenSSL say of a connection has its code and words with it", () => {
  for (const [code, words] of [
    ["ENOTFOUND", "there is no host of that name; is the address right?"],
    ["EAI_AGAIN", "the name server does not answer"],
    ["EHOSTUNREACH", "there is no way to that address; a route or a firewall is missing"],
    ["ENETUNREACH", "there is no way to that address; a route or a firewall is missing"],
    ["ETIMEDOUT", "no connection comes about; a firewall, or the address is wrong"],
    ["UND_ERR_CONNECT_TIMEOUT", "no connection comes about; a firewall, or the address is wrong"],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "it does not speak TLS there; is it http://?"],
    ["CERT_HAS_EXPIRED", "the certificate has expired"],
  ] as const)
    assert.equal(connectionProblem(code), `${code}: ${words}`);
  assert.equal(connectionProblem("EWEIRD"), "EWEIRD");
});

test("only a text is a code", () => {
  assert.deepEqual([codeOf(failed("EX")), codeOf({ code: 23 }), codeOf(undefined)], ["EX", undefined, undefined]);
});
