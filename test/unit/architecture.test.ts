// The shape of the tree, as a test: who may import whom, which file is the adapter of which
// package, and what may not be written at all.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";

const root = join(import.meta.dirname, "..", "..");

type Source = { readonly path: string; readonly text: string; readonly imports: readonly string[] };

function read(path: string): Source {
  const text = readFileSync(join(root, path), "utf8");
  const imports = [
    ...text.matchAll(
      /(?:^|\n|;)\s*(?:import|export)\s[^;'"]*?from\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']|^import\s*["']([^"']+)["']/gm,
    ),
  ];
  return { path, text, imports: imports.map(([, from, dynamic, bare]) => from ?? dynamic ?? bare ?? "") };
}
function sources(dir: string): readonly Source[] {
  return readdirSync(join(root, dir), { recursive: true, encoding: "utf8" })
    .filter((file) => /\.tsx?$/.test(file) && !file.includes("node_modules") && !file.includes("dist/"))
    .map((file) => read(join(dir, file)));
}

const configurations = ["gateway", "shim", "fleet", "cli"];

/**
 * Who may import whom: the whole table. A row is a folder or a file of a shipped package; it may
 * import what stands in its own row and the rows it names, and nothing else of this repository.
 * Rows that end in "/" are folders with all that is in them. What has no row fails.
 */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  "proto/gen/": [],
  "proto/wire/": ["proto/gen/"],
  "proto/runtime/": ["proto/gen/", "proto/wire/"],

  "gateway/core/src/identity.ts": ["proto/"],
  "gateway/core/src/audit/": ["proto/"],
  "gateway/core/src/pki/": ["proto/", "gateway/core/src/backend/port.ts"],
  "gateway/core/src/backend/port.ts": ["proto/"],
  "gateway/core/src/backend/config.ts": ["proto/"],
  "gateway/core/src/key/": ["proto/", "gateway/core/src/backend/port.ts"],
  "gateway/core/src/backend/": [
    "proto/",
    "gateway/core/src/backend/port.ts",
    "gateway/core/src/backend/config.ts",
    "gateway/core/src/key/",
  ],
  "gateway/core/src/redis/": ["proto/", "gateway/core/src/backend/port.ts", "gateway/core/src/key/"],
  "gateway/core/src/registry/edit/": [
    "proto/",
    "gateway/core/src/backend/port.ts",
    "gateway/core/src/pki/",
    "gateway/core/src/registry/",
  ],
  "gateway/core/src/registry/": ["proto/", "gateway/core/src/backend/port.ts", "gateway/core/src/key/"],
  "gateway/core/src/retirement/": [
    "proto/",
    "gateway/core/src/backend/port.ts",
    "gateway/core/src/backend/config.ts",
    "gateway/core/src/key/",
    "gateway/core/src/redis/",
    "gateway/core/src/registry/",
  ],
  "gateway/core/src/config.ts": [
    "proto/",
    "gateway/core/src/audit/",
    "gateway/core/src/backend/config.ts",
    "gateway/core/src/key/",
    "gateway/core/src/redis/",
    "gateway/core/src/registry/",
  ],
  "gateway/core/src/secret-files.ts": ["proto/", "gateway/core/src/config.ts", "gateway/core/src/backend/config.ts"],
  "gateway/core/src/tls-files.ts": ["proto/", "gateway/core/src/config.ts", "gateway/core/src/backend/"],

  "gateway/server/src/metric-names.ts": ["proto/", "gateway/core/"],
  "gateway/server/src/metrics.ts": ["proto/", "gateway/core/", "gateway/server/src/metric-names.ts"],
  "gateway/server/src/call-counts.ts": ["proto/", "gateway/core/", "gateway/server/src/kms/"],
  "gateway/server/src/backend/outcomes.ts": ["proto/", "gateway/core/"],
  "gateway/server/src/backend/": ["proto/", "gateway/core/"],
  "gateway/server/src/keys/": ["proto/", "gateway/core/"],
  "gateway/server/src/kms/": ["proto/", "gateway/core/", "gateway/server/src/backend/", "gateway/server/src/keys/"],
  "gateway/server/src/http/": [
    "proto/",
    "gateway/core/",
    "gateway/server/src/metrics.ts",
    "gateway/server/src/call-counts.ts",
    "gateway/server/src/backend/outcomes.ts",
    "gateway/server/src/kms/",
  ],
  "gateway/server/src/check/": ["proto/", "gateway/core/", "gateway/server/src/http/", "gateway/server/src/keys/"],
  "gateway/server/src/gateway-state.ts": ["proto/", "gateway/core/", "gateway/server/src/http/"],
  "gateway/server/src/step-state.ts": ["proto/", "gateway/core/"],
  "gateway/server/src/main.ts": ["proto/", "gateway/core/", "gateway/server/"],

  "gateway/fleet/src/": ["proto/", "gateway/core/"],
  "gateway/cli/src/": ["proto/", "gateway/core/", "gateway/cli/src/doctor/", "gateway/cli/src/config/"],
  "gateway/cli/src/config/": ["gateway/cli/", ...configurations.map((one) => `docs/reference/schema/${one}.json`)],
  // What a program's own --check tries, doctor tries by the same functions.
  "gateway/cli/src/doctor/": ["proto/", "gateway/core/", "gateway/cli/", "gateway/server/", "gateway/fleet/", "shim/"],

  // In a browser: nothing of the other programs but the schema of what they answer.
  "gateway/console/src/api/": ["proto/gen/"],
  "gateway/console/src/model/": ["gateway/console/src/api/"],
  "gateway/console/src/data/": ["gateway/console/src/api/", "gateway/console/src/model/"],
  "gateway/console/src/view/": ["gateway/console/src/api/", "gateway/console/src/model/", "gateway/console/src/data/"],
  "gateway/console/src/pages/": ["gateway/console/"],
  "gateway/console/src/": ["gateway/console/"],

  "shim/src/": ["proto/"],
};

/**
 * Rows of the shim, first to last: a file may import what stands above it, never what stands below.
 */
const shimOrder = [
  [
    "config.ts",
    "connections.ts",
    "failure-log.ts",
    "metrics.ts",
    "outages.ts",
    "socket.ts",
    "state-file.ts",
    "signing-request.ts",
    "fleet-service.ts",
  ],
  ["gateway-answers.ts"],
  ["gateway.ts", "enroll.ts"],
  ["renewal.ts"],
  ["upstream.ts", "tls.ts"],
  ["status.ts"],
  ["relay.ts"],
  ["kms.ts"],
  ["server.ts"],
  ["check.ts"],
  ["main.ts"],
] as const;

const proto = [...sources("proto/wire"), ...sources("proto/runtime"), ...sources("proto/gen")];
const shim = sources("shim");
const core = sources("gateway/core");
const server = sources("gateway/server");
const cli = sources("gateway/cli");
const fleet = sources("gateway/fleet");
const pages = sources("gateway/console");
const shipped = [...proto, ...shim, ...core, ...server, ...fleet, ...cli, ...pages];
const written = shipped.filter(({ path }) => !path.startsWith("proto/gen/"));
const everything = [...written, ...sources("test"), ...sources("infra"), ...sources("docs")];

const packages: Readonly<Record<string, string>> = {
  "@claviger/proto/": "proto/",
  "@claviger/shim/": "shim/",
  "@claviger/gateway-server/": "gateway/server/",
  "@claviger/gateway-fleet/": "gateway/fleet/",
  "@claviger/gateway-core/": "gateway/core/",
};

/** The file of this repository that an import names; undefined for npm's and Node's own. */
function targetOf(path: string, specifier: string): string | undefined {
  if (specifier.startsWith(".")) return join(path, "..", specifier);
  const found = Object.entries(packages).find(([name]) => specifier.startsWith(name));
  return found === undefined ? undefined : found[1] + specifier.slice(found[0].length);
}

/** The most particular row that a path stands in. */
function rowOf(path: string): string | undefined {
  const rows = Object.keys(mayImport).filter((row) => (row.endsWith("/") ? path.startsWith(row) : path === row));
  return rows.toSorted((a, b) => b.length - a.length)[0];
}

function packageOf(path: string): string {
  return /^(?:proto|shim|gateway\/[^/]+)\//.exec(path)?.[0] ?? path;
}

/** The name and the dependencies of the package that a file stands in. */
function manifestOf(path: string): { readonly name: string; readonly dependencies: Readonly<Record<string, string>> } {
  return JSON.parse(readFileSync(join(root, packageOf(path), "package.json"), "utf8")) as ReturnType<typeof manifestOf>;
}

/**
 * Packages with more than one adapter, and why. Everything else is imported in one file of a
 * workspace package.
 */
const severalAdapters: Readonly<Record<string, string>> = {
  "@bufbuild/protobuf": "it is the language of the generated messages, not a library to hide",
  preact: "the pages are written in it; what is none of its components is in files that do not import it",
  "@preact/signals": "the values that the pages follow",
  "@opentelemetry/api": "an interface without an implementation, made to be everywhere",
};

/** Shipped files beside main.ts that touch `process`, and why. */
const touchesProcess: Readonly<Record<string, string>> = {};

suite("The architecture", () => {
  test("there is something to look at", () => {
    for (const [name, files] of Object.entries({ proto, shim, core, server, fleet, cli, pages }))
      assert.ok(files.length >= 5, `${name} has ${files.length} files`);
    assert.ok(shipped.flatMap(({ imports }) => imports).length > 100);
    assert.ok(everything.length > written.length);
  });

  test("every shipped file has a row in the table, and every row has a file", () => {
    const rows = shipped.map(({ path }) => ({ path, row: rowOf(path) }));
    assert.deepEqual(
      rows.filter(({ row }) => row === undefined),
      [],
    );
    const used = new Set(rows.map(({ row }) => row));
    assert.deepEqual(
      Object.keys(mayImport).filter((row) => !used.has(row)),
      [],
    );
  });

  test("every folder at the top, in gateway/ and in test/ is one that this test knows", () => {
    const known = {
      ".": ["docs", "gateway", "infra", "proto", "shim", "test"],
      gateway: ["cli", "console", "core", "fleet", "server"],
      test: [
        "bench",
        "chaos",
        "conformance",
        "contracts",
        "demo",
        "fuzz",
        "kubernetes",
        "lab",
        "mutation",
        "parts",
        "real",
        "run",
        "threat-model",
        "unit",
      ],
    };
    for (const [dir, names] of Object.entries(known)) {
      const found = readdirSync(join(root, dir), { withFileTypes: true })
        .filter((entry) => entry.isDirectory() && !/^(?:node_modules|dist|\..*)$/.test(entry.name))
        .map(({ name }) => name);
      assert.deepEqual(found.toSorted(), names);
    }
  });

  test("imports follow the table", () => {
    const wrong = shipped.flatMap(({ path, imports }) => {
      const row = rowOf(path) ?? "";
      const allowed = [row, ...(mayImport[row] ?? [])];
      return imports.flatMap((specifier) => {
        const target = targetOf(path, specifier);
        if (target === undefined) return specifier.startsWith("@claviger/") ? [`${path} → ${specifier}`] : [];
        if (target.endsWith("package.json")) return [];
        // A file with a row of its own is reached by that row, not by its folder's.
        const targetRow = rowOf(target) ?? target;
        const isAllowed = allowed.some(
          (name) => name === targetRow || (name.split("/").length <= 3 && targetRow.startsWith(name)),
        );
        return isAllowed ? [] : [`${path} → ${target}`];
      });
    });
    assert.deepEqual(wrong, []);
  });

  test("inside the shim imports go up the reading order", () => {
    const orderOf = (file: string): number => shimOrder.findIndex((row) => (row as readonly string[]).includes(file));
    const wrong = shim.flatMap(({ path, imports }) => {
      const file = path.slice("shim/src/".length);
      if (orderOf(file) === -1) return [`${file} has no row in the reading order`];
      return imports
        .filter((specifier) => specifier.startsWith(".") && specifier.endsWith(".ts"))
        .map((specifier) => join(file, "..", specifier))
        .filter((target) => orderOf(target) > orderOf(file) || orderOf(target) === -1)
        .map((target) => `${file} → ${target}`);
    });
    assert.deepEqual(wrong, []);
  });

  test("a package imports only what its package.json names", () => {
    const wrong = written.flatMap(({ path, imports }) => {
      const { name: own, dependencies } = manifestOf(path);
      return imports
        .filter((name) => !name.startsWith(".") && !name.startsWith("node:"))
        .map((name) => /^(?:@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name)
        .filter((name) => name !== own && !Object.hasOwn(dependencies, name))
        .map((name) => `${path} → ${name}`);
    });
    assert.deepEqual(wrong, []);
  });

  test("no file imports itself by way of others", () => {
    const edges = new Map(
      shipped.map(({ path, imports }) => [path, imports.flatMap((name) => targetOf(path, name) ?? [])]),
    );
    const done = new Set<string>();
    const visit = (path: string, chain: readonly string[]): void => {
      assert.ok(!chain.includes(path), [...chain, path].join(" → "));
      if (done.has(path)) return;
      for (const next of edges.get(path) ?? []) visit(next, [...chain, path]);
      done.add(path);
    };
    for (const path of edges.keys()) visit(path, []);
  });

  test("the shim imports neither fastify nor ioredis nor node-vault", () => {
    const wrong = [...shim, ...proto].flatMap(({ path, imports }) =>
      imports.filter((name) => /^(?:fastify|ioredis|node-vault)/.test(name)).map((name) => `${path} → ${name}`),
    );
    assert.deepEqual(wrong, []);
  });

  test("the shim's production install is without fastify, ioredis and node-vault", () => {
    type Locked = { readonly dependencies?: Readonly<Record<string, string>>; readonly resolved?: string };
    const { packages: locked } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
      readonly packages: Readonly<Record<string, Locked>>;
    };
    const installed = new Set<string>();
    // npm looks for a dependency beside its user first, then further up.
    const visit = (at: string): void => {
      const { dependencies = {} } = locked[at] ?? {};
      for (const name of Object.keys(dependencies)) {
        const places = at
          .split("/node_modules/")
          .map((_, i, all) => all.slice(0, all.length - i).join("/node_modules/"));
        const found = [...places.map((place) => `${place}/node_modules/${name}`), `node_modules/${name}`].find(
          (place) => locked[place] !== undefined,
        );
        assert.ok(found !== undefined, `${name}, which ${at} needs, is in the lockfile`);
        if (installed.has(found)) continue;
        installed.add(found);
        visit(locked[found]?.resolved?.startsWith("http") === false ? (locked[found].resolved ?? found) : found);
      }
    };
    visit("shim");
    const names = [...installed].map((place) => place.split("node_modules/").at(-1) ?? "");
    assert.ok(names.includes("@grpc/grpc-js") && names.includes("zod"), "the walk reaches what proto needs too");
    assert.deepEqual(
      names.filter((name) => /^(?:fastify|ioredis|node-vault|@peculiar\/x509|commander)$/.test(name)),
      [],
    );
  });

  test("each third-party package is imported in one file of a workspace package", () => {
    const adapters = new Map<string, Set<string>>();
    for (const { path, imports } of written)
      for (const name of imports) {
        if (name.startsWith(".") || name.startsWith("node:") || name.startsWith("@claviger/")) continue;
        const module = /^(?:@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name;
        const key = `${packageOf(path)}: ${module}`;
        adapters.set(key, (adapters.get(key) ?? new Set()).add(path));
      }
    assert.ok(adapters.size > 5);
    const several = [...adapters].filter(
      ([key, files]) => files.size > 1 && severalAdapters[key.split(": ")[1] ?? ""] === undefined,
    );
    assert.deepEqual(
      several.map(([key, files]) => `${key} in ${[...files].join(", ")}`),
      [],
    );
  });

  test("only main.ts touches the process", () => {
    const wrong = written
      .filter(
        ({ path, text }) =>
          !path.endsWith("/main.ts") &&
          touchesProcess[path] === undefined &&
          /\bprocess\.(?!hrtime|memoryUsage|cpuUsage)/.test(text.replaceAll(/^\s*(?:\/\/|\*|\/\*).*$/gm, "")),
      )
      .map(({ path }) => path);
    assert.deepEqual(wrong, []);
  });

  test("nothing is an `any`, a default export, an enum, or a file over 400 lines", () => {
    const wrong = everything.flatMap(({ path, text }) => {
      const code = text
        .replaceAll(/^\s*(?:\/\/|\*|\/\*).*$/gm, "")
        .replaceAll(/"(?:[^"\\\n]|\\.)*"|`[^`]*`|\/(?![/*])(?:[^/\\\n]|\\.)+\/[a-z]*/g, '""');
      return [
        /(?::|<|\bas|=>|\|)\s*any\b/.test(code) && `${path}: any`,
        /^export default\b/m.test(code) && `${path}: default export`,
        /^\s*(?:export )?(?:const )?enum\s/m.test(code) && `${path}: enum`,
        text.split("\n").length > 401 && `${path}: ${text.split("\n").length} lines`,
      ].filter((found) => found !== false);
    });
    assert.deepEqual(wrong, []);
  });

  test("no class inherits but from Error", () => {
    const wrong = shipped.flatMap(({ path, text }) =>
      [...text.matchAll(/\bclass \w+ extends (\w+)/g)]
        .filter(([, parent]) => parent !== "Error")
        .map(([found]) => `${path}: ${found}`),
    );
    assert.deepEqual(wrong, []);
  });
});
