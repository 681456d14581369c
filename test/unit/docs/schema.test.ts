// The JSON Schemas of the configurations: editors are told by them what the programs take. Every configuration that is
// shipped is one by its schema, and each names it in its first line; what no program takes is none.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { suite, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { parse } from "yaml";
import { runCli } from "@claviger/cli/src/run.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const schemas = join(root, "docs", "reference", "schema");

function validatorOf(file: string) {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  return ajv.compile(JSON.parse(readFileSync(file, "utf8")) as object);
}

/** Files of infra that are a configuration as a whole; the tests of the mixin are called after programs, too. */
const configurations = readdirSync(join(root, "infra"), { recursive: true, encoding: "utf8" }).filter((path) =>
  /^(?!mixin\/).*\/(?:gateway|shim|fleet)\.yaml$/.test(path),
);

suite("the schemas of configurations", () => {
  test("each shipped configuration names its schema in the first line, and is one by it", () => {
    assert.ok(configurations.length >= 6, configurations.join());
    for (const path of configurations) {
      const file = join(root, "infra", path);
      const text = readFileSync(file, "utf8");
      const name = /([a-z]+)\.yaml$/.exec(path)?.[1] ?? "";
      const schema = relative(dirname(file), join(schemas, `${name}.json`));
      assert.equal(text.split("\n")[0], `# yaml-language-server: $schema=${schema}`, path);
      const validate = validatorOf(join(schemas, `${name}.json`));
      assert.ok(validate(parse(text)), `${path}: ${JSON.stringify(validate.errors, undefined, 1)}`);
    }
  });

  test("what no program takes is none: a name, a kind, a number out of range, a duration, what is missing", () => {
    const gateway = parse(readFileSync(join(root, "infra/gateway/gateway.yaml"), "utf8")) as Record<string, object>;
    const validate = validatorOf(join(schemas, "gateway.json"));
    const wrongs: readonly object[] = [
      { nonsense: 1 },
      { listen: { ...gateway["listen"], port: 70_000 } },
      { registry: { kind: "nowhere" } },
      { keys: { refresh: "soon" } },
      { log: { level: "loud" } },
      { tls: { cert: "x" } },
    ];
    for (const wrong of wrongs) assert.ok(!validate({ ...gateway, ...wrong }), JSON.stringify(wrong));
    assert.ok(validate(gateway));
  });

  test("contexts may be as short as the command takes them", () => {
    const validate = validatorOf(join(schemas, "cli.json"));
    const backends = { main: { addresses: ["https://vault.example:8200"] } };
    const contexts = { prod: { backends, registry: "kv:claviger/registry" }, staging: { config: "/etc/x.yaml" } };
    assert.ok(validate({ current: "prod", contexts }), JSON.stringify(validate.errors));
    assert.ok(!validate({ contexts: { prod: { token: "x" } } }), "there is no place for a token");
  });

  test("each setting has a description, but sections whose settings say the rest", () => {
    const missing: string[] = [];
    const walk = (schema: Record<string, unknown>, at: string): void => {
      for (const [name, inner] of Object.entries(
        (schema["properties"] ?? {}) as Record<string, Record<string, unknown>>,
      )) {
        const isSection =
          inner["properties"] !== undefined || inner["anyOf"] !== undefined || inner["oneOf"] !== undefined;
        if (inner["description"] === undefined && !isSection) missing.push(`${at}.${name}`);
        walk(inner, `${at}.${name}`);
      }
      for (const list of ["anyOf", "oneOf"])
        for (const option of (schema[list] ?? []) as Record<string, unknown>[]) walk(option, at);
      for (const part of ["items", "additionalProperties"])
        if (typeof schema[part] === "object" && schema[part] !== null)
          walk(schema[part] as Record<string, unknown>, at);
    };
    for (const name of ["gateway", "shim", "fleet", "cli"])
      walk(JSON.parse(readFileSync(join(schemas, `${name}.json`), "utf8")) as Record<string, unknown>, name);
    assert.deepEqual(missing, []);
  });

  test("claviger config schema prints them", async () => {
    for (const name of ["gateway", "shim", "fleet", "cli"]) {
      const out: string[] = [];
      const terminal = { out: (line: string) => out.push(line), err: () => {}, env: {}, home: "/nowhere" };
      assert.equal(await runCli(["config", "schema", name], terminal), 0);
      assert.equal(`${out.join("\n")}\n`, readFileSync(join(schemas, `${name}.json`), "utf8"));
    }
  });
});
