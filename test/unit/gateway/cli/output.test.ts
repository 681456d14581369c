// How commands print data: the same fields in JSON and YAML as in the API, and nothing that a terminal acts upon.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { parse } from "yaml";
import { Command } from "../../../../gateway/cli/src/commander.ts";
import {
  ageText,
  fieldsText,
  messageJson,
  type OutputFormat,
  outputOptionWithJson,
  printOne,
  printRows,
  timeText,
} from "../../../../gateway/cli/src/output.ts";
import { printableLines } from "../../../../gateway/cli/src/table.ts";
import { ClusterSchema, CreateNodeTokenResponseSchema } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";

const columns = [
  { head: "NAME", cell: ({ name }: { readonly name: string }) => name },
  { head: "SIZE", cell: ({ name }: { readonly name: string }) => String(name.length) },
];

function printed(output: OutputFormat, rows: readonly { readonly name: string }[], none?: string) {
  const [out, err]: [string[], string[]] = [[], []];
  const terminal = { out: (line: string) => out.push(printableLines(line)), err: (line: string) => err.push(line) };
  printRows(terminal, { output }, { rows, columns, ...(none !== undefined && { none }) });
  return { out: out.join("\n"), err: err.join("\n") };
}

suite("Output of commands", () => {
  test("a list is a table, or an array in JSON and YAML", () => {
    const rows = [{ name: "a" }, { name: "longer" }];
    assert.equal(printed("table", rows).out, "NAME    SIZE\na       1\nlonger  6");
    assert.deepEqual(JSON.parse(printed("json", rows).out), rows);
    assert.equal(printed("yaml", rows).out, "- name: a\n- name: longer");
  });

  test("a list without rows says so beside the data, and is an empty array for programs", () => {
    assert.deepEqual(printed("table", [], "no clusters"), { out: "", err: "no clusters" });
    assert.deepEqual(printed("json", []), { out: "[]", err: "" });
    assert.deepEqual(printed("yaml", []), { out: "[]", err: "" });
  });

  test("what others chose reaches no terminal, and programs read it as it is", () => {
    const rows = [{ name: "a\u001B[2J\u202Eb\nc\u0085" }, { name: "true" }];
    for (const format of ["table", "json", "yaml"] as const) {
      const { out } = printed(format, rows);
      assert.ok(!["\u001B", "\u202E", "\u0085"].some((character) => out.includes(character)), format);
      assert.equal(out.split("\n").length, { table: 3, json: 8, yaml: 2 }[format], out);
    }
    assert.deepEqual(JSON.parse(printed("json", rows).out), rows);
    assert.deepEqual(parse(printed("yaml", rows).out), rows);
  });

  test("a message has the fields of the API's JSON, with those that are empty, and times in RFC 3339", () => {
    const json = messageJson(ClusterSchema)(create(ClusterSchema, { name: "prod", generation: 3 }));
    assert.deepEqual(json, {
      ...(json as object),
      name: "prod",
      generation: 3,
      labels: {},
      expectedNodes: [],
      revokedNodes: [],
    });
    const expiresAt = { seconds: 1_800_000_000n, nanos: 0 };
    assert.deepEqual(messageJson(CreateNodeTokenResponseSchema)(create(CreateNodeTokenResponseSchema, { expiresAt })), {
      token: "",
      expiresAt: "2027-01-15T08:00:00Z",
      caPin: "",
    });
    assert.deepEqual([timeText(expiresAt), timeText(undefined)], ["2027-01-15T08:00:00Z", ""]);
  });

  test("one thing is text for people, and a value for programs", () => {
    const out: string[] = [];
    const terminal = { out: (line: string) => void out.push(line) };
    const thing = {
      value: { at: new Date(0), a: undefined },
      text: () =>
        fieldsText([
          ["name", "x"],
          ["longer", "y"],
        ]),
    };
    for (const output of ["table", "json", "yaml"] as const) printOne(terminal, { output }, thing);
    assert.deepEqual(out, [
      "name    x\nlonger  y",
      '{\n  "at": "1970-01-01T00:00:00.000Z"\n}',
      'at: "1970-01-01T00:00:00.000Z"',
    ]);
  });

  test("an age is in its largest unit", () => {
    assert.deepEqual([-1, 0, 59.9, 60, 3599, 3600, 86_399, 86_400, 864_000].map(ageText), [
      "0s",
      "0s",
      "59s",
      "1m",
      "59m",
      "1h",
      "23h",
      "1d",
      "10d",
    ]);
  });

  test("--json of earlier releases is -o json", () => {
    const formatOf = (...args: readonly string[]): unknown =>
      outputOptionWithJson(new Command()).parse(args, { from: "user" }).opts()["output"];
    assert.deepEqual([formatOf(), formatOf("--json"), formatOf("-o", "yaml")], ["table", "json", "yaml"]);
  });
});
