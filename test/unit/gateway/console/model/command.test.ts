import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { suite, test } from "node:test";
import { clusterActions, keyActions, nodeActions } from "@claviger/console/src/model/action.ts";
import { command } from "@claviger/console/src/model/command.ts";
import { parseLabelEdits } from "@claviger/console/src/model/label-edits.ts";

/** The words that a shell makes of a command. */
function wordsOf(text: string): readonly string[] {
  const script = `claviger() { printf '%s\\0' "$@"; }; ${text}`;
  return execFileSync("/bin/sh", ["-c", script], { encoding: "utf8" }).split("\0").slice(0, -1);
}

suite("the command that does what a button does", () => {
  test("a shell reads every word and every reason back as it was written", () => {
    for (const text of [
      "plain",
      "two words",
      "it's",
      "$(reboot)",
      "`id`",
      "a\\b",
      '"',
      "-x",
      "; rm",
      "ä€",
      "a\nb",
      "*",
      "~",
    ])
      assert.deepEqual(
        wordsOf(command(["node", "revoke", text], text)),
        ["node", "revoke", text, "--reason", text],
        text,
      );
  });

  test("a reason that is not written yet has a place", () => {
    assert.equal(command(["cluster", "suspend", "prod"], "  "), "claviger cluster suspend prod --reason '...'");
  });

  test("a cluster has the actions of its state, each for the role that the service wants", () => {
    const of = (state: string) =>
      clusterActions({ name: "prod", state }).map(({ button, need }) => `${button}: ${need}`);
    assert.deepEqual(of("active"), ["Suspend: operator", "Decrypt only: operator", "Change labels: operator"]);
    assert.deepEqual(of("decrypt-only"), ["Suspend: operator", "Resume: admin", "Change labels: operator"]);
    assert.deepEqual(of("suspended"), ["Decrypt only: admin", "Resume: admin", "Change labels: operator"]);
  });

  test("a key has those of its versions, and retiring is left to the command", () => {
    const of = (keys: Parameters<typeof keyActions>[1]) => keyActions("prod", keys).map(({ button }) => button);
    assert.deepEqual(of(undefined), [], "there may be no such cluster");
    assert.deepEqual(of({ latest: 1, promoted: 1, minDecryptionVersion: 1 }), ["Rotate"]);
    assert.deepEqual(of({ latest: 3, promoted: 2, minDecryptionVersion: 1 }), ["Rotate", "Promote", "Retire"]);
    assert.deepEqual(of({ latest: 3, promoted: 3, minDecryptionVersion: 3 }), ["Rotate", "Unretire"]);
    const retire = keyActions("prod", { latest: 3, promoted: 3, minDecryptionVersion: 1 }).find(
      (one) => one.button === "Retire",
    );
    assert.ok(retire !== undefined && retire.run === undefined);
    assert.match(retire.command("", ""), /^claviger key retire prod --etcd /);
  });

  test("a node is revoked, or allowed where it was", () => {
    const of = (revoked: boolean) =>
      nodeActions({ cluster: "prod", node: "cp-1", revoked }).map((one) => one.command("x", ""));
    assert.deepEqual(of(false), ["claviger node revoke prod/cp-1 --reason x"]);
    assert.deepEqual(of(true), ["claviger node allow prod/cp-1 --reason x"]);
  });

  test("labels are changed in kubectl's words", () => {
    assert.deepEqual(parseLabelEdits(" team=blue  env- a=b=c "), { set: { team: "blue", a: "b=c" }, remove: ["env"] });
    for (const text of ["", "  ", "=x", "team", "-"]) assert.throws(() => parseLabelEdits(text), RangeError, text);
  });

  test("every title begins with the word on its button, for those who speak to their computer", () => {
    const all = [
      ...["active", "decrypt-only", "suspended"].flatMap((state) => clusterActions({ name: "prod", state })),
      ...keyActions("prod", { latest: 3, promoted: 2, minDecryptionVersion: 2 }),
      ...nodeActions({ revoked: true }),
      ...nodeActions({}),
    ];
    for (const { title, button } of all) assert.ok(title.startsWith(button), `${button}: ${title}`);
  });
});
