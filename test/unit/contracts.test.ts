// Every fake keeps the contract of what it stands for, as a test: which fakes there are, which suite
// each runs, and that nobody builds another one in passing.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";

const root = join(import.meta.dirname, "..", "..");

function filesOf(dir: string): readonly { readonly path: string; readonly text: string }[] {
  return readdirSync(join(root, dir), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => ({ path: join(dir, file), text: readFileSync(join(root, dir, file), "utf8") }));
}
const unit = filesOf("test/unit").filter(({ path }) => path !== "test/unit/contracts.test.ts");
const real = filesOf("test/real");
const fakes = unit.filter(({ path }) => path.endsWith("/fakes.ts"));

/**
 * The ports that unit tests have fakes of: the interface and where it stands, the methods by which
 * to tell who builds one, and where the real adapter runs the suite.
 */
const ports = {
  backend: {
    port: "Backend",
    from: "gateway/core/src/backend/port.ts",
    methods: ["unwrap", "describe"],
    fake: "createFakeBackend",
    real: "test/real/backend/contract.test.ts",
  },
  documents: {
    port: "Documents",
    from: "gateway/core/src/backend/port.ts",
    methods: ["readDocument"],
    fake: "createFakeDocuments",
    real: "test/real/registry/documents.test.ts",
  },
  registry: {
    port: "RegistryEditor",
    from: "gateway/core/src/registry/edit/editor.ts",
    methods: ["addAll", "change"],
    // Documents in memory under the registry's own code.
    fake: "createFakeDocuments",
    real: "test/real/registry/contract.test.ts",
  },
  redis: {
    port: "RedisStore",
    from: "gateway/core/src/redis/client.ts",
    methods: ["put", "all"],
    fake: "createFakeRedis",
    real: "test/real/redis/contract.test.ts",
  },
  sink: {
    port: "AuditSink",
    from: "gateway/core/src/audit/port.ts",
    methods: ["write", "close"],
    fake: "createFakeSink",
    real: "test/unit/gateway/core/audit/sinks.test.ts",
  },
  upstream: {
    port: "Upstream",
    from: "shim/src/upstream.ts",
    methods: ["configure", "call"],
    fake: "createFakeUpstream",
    real: "test/real/shim/contract.test.ts",
  },
  stateFile: {
    port: "StateFile",
    from: "shim/src/state-file.ts",
    methods: ["forget", "load"],
    fake: "createFakeStateFile",
    real: "test/unit/shim/state-file.test.ts",
  },
  tracing: {
    port: "Tracing",
    from: "proto/runtime/tracing.ts",
    methods: ["traceparent", "span"],
    // Not a fake, but what stands in for it wherever nothing is traced.
    fake: "noTracing",
    real: "test/unit/proto/runtime/tracing.test.ts",
  },
} as const;

/** What fakes.ts files export that stands for no port, and what it is. */
const otherExports: Readonly<Record<string, string>> = {
  silent: "a log",
  noMetrics: "counts nothing",
  ref: "data",
  cluster: "data",
  failWith: "breaks a fake",
  fullDisk: "breaks a fake",
  decryptRequest: "a message",
  decryptAnswer: "a message",
  plaintextOf: "reads a message",
  batchAnswer: "a message",
  statusBytes: "a message",
  reply: "a message",
  reasonOf: "reads an error",
  createFleet: "real certificates",
  startGateway: "a server for the real adapter to talk to",
};

/** From `at` to the bracket that encloses it, in steps of -1 or 1. */
function bracketFrom(at: number, text: string, step: 1 | -1): number {
  const [opening, closing] = step === 1 ? ["{([", "})]"] : ["})]", "{(["];
  let depth = 0;
  for (let i = at; i >= 0 && i < text.length; i += step) {
    const character = text[i] ?? "";
    if (opening.includes(character)) depth += 1;
    else if (closing.includes(character) && depth-- === 0) return i;
  }
  return -1;
}

/** The arguments of each call of a suite in a file. */
function callsOf(suiteName: string, text: string): readonly string[] {
  const calls = text.split(new RegExp(`^ *${suiteName}\\(`, "m")).slice(1);
  return calls.map((rest) => rest.slice(0, bracketFrom(0, rest, 1)));
}

/** Objects with all these methods, but for those that begin as another object does and change it. */
function builds([first, ...others]: readonly string[], text: string): readonly string[] {
  const defined = (method: string): RegExp => new RegExp(`(?<=^ *|[{,] )(?:async )?${method}(?:\\(|: |,| })`, "gm");
  return [...text.matchAll(defined(first ?? ""))].flatMap(({ index }) => {
    const open = bracketFrom(index - 1, text, -1);
    const inside = text.slice(open + 1, bracketFrom(index, text, 1)).trim();
    const isFake =
      text[open] === "{" && !inside.startsWith("...") && others.every((other) => defined(other).test(`${inside} }`));
    return isFake ? [inside.slice(0, 60)] : [];
  });
}

suite("Fakes and contracts", () => {
  test("the table is of ports that are there, each with the methods that tell who builds one", () => {
    assert.ok(fakes.length >= 4 && unit.length > 80 && real.length > 20, "the sources were found");
    for (const { port, from, methods } of Object.values(ports)) {
      const text = readFileSync(join(root, from), "utf8");
      const body = new RegExp(`^export interface ${port} \\{\\n([^]*?)^\\}`, "m").exec(text)?.[1] ?? "";
      for (const method of methods)
        assert.match(body, new RegExp(`^  (?:readonly )?${method}(?:<|\\(|:)`, "m"), `${port} of ${from}`);
    }
  });

  test("every suite of test/contracts has a row", () => {
    const suites = filesOf("test/contracts").flatMap(({ text }) =>
      [...text.matchAll(/^export function (\w+)Contract\(/gm)].map(([, name]) => name),
    );
    assert.deepEqual(new Set(suites), new Set(Object.keys(ports)));
  });

  test("every export of a fakes.ts is a fake with a suite, or known to be none", () => {
    const known = [...Object.values(ports).map(({ fake }): string => fake), ...Object.keys(otherExports)];
    const exported = fakes.flatMap(({ path, text }) =>
      [...text.matchAll(/^export (?:async )?(?:function|const|class) (\w+)/gm)].map(([, name = ""]) => ({
        path,
        name,
      })),
    );
    assert.deepEqual(
      exported.filter(({ name }) => !known.includes(name)).map(({ path, name }) => `${path}: ${name}`),
      [],
    );
    const gone = known.filter((name) => name !== "noTracing" && !exported.some((one) => one.name === name));
    assert.deepEqual(gone, [], "rows without an export");
  });

  for (const [name, { fake, real: path }] of Object.entries(ports))
    test(`${fake} runs the suite, and so does the real one`, () => {
      const runs = unit.flatMap(({ text }) => callsOf(`${name}Contract`, text)).filter((call) => call.includes(fake));
      assert.ok(runs.length > 0, `no ${name}Contract( with ${fake} in test/unit`);
      const file = [...unit, ...real].find((one) => one.path === path);
      const others = callsOf(`${name}Contract`, file?.text ?? "").filter((call) => !call.includes(fake));
      assert.ok(others.length > 0, `no ${name}Contract( of a real one in ${path}`);
    });

  test("nobody but a fakes.ts builds what stands for one of these ports", () => {
    const wrong = unit
      .filter((file) => !fakes.includes(file))
      .flatMap(({ path, text }) => [
        ...[...text.matchAll(/as unknown as (\w+)/g)]
          .filter(([, type]) => Object.values(ports).some(({ port }) => port === type))
          .map(([found]) => `${path}: ${found}`),
        ...Object.values(ports).flatMap(({ port, methods }) =>
          builds(methods, text).map((start) => `${path}: ${port} in { ${start}`),
        ),
      ]);
    assert.deepEqual(wrong, []);
  });

  test("what is built in passing is found", () => {
    const methods = ["write", "close"];
    for (const text of [
      'const s = { name: "x", write: () => {}, close: () => {} };',
      "f({ sinks: [{ write, close }] });",
      "const s = {\n  async write(bytes) {\n    g({});\n  },\n  close() {},\n};",
    ])
      assert.equal(builds(methods, text).length, 1, text);
    for (const text of [
      "const s = { ...sink, write: () => {}, close: () => {} };",
      "const s = { read() {}, write() {} };\nconst t = { close() {} };",
      "await sink.write(x);\nawait sink.close();",
      "f(a, write(b), close(c));",
    ])
      assert.deepEqual(builds(methods, text), [], text);
  });
});
