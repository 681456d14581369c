// The shape of the tree, as a test: who may import whom, which file is the door to which package, and what may not be written at all.
// The tables here are the reading order: a file may import what stands above it, never what stands below.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";

const root = join(import.meta.dirname, "..", "..");

type Source = { readonly path: string; readonly text: string; readonly imports: readonly string[] };

const read = (path: string): Source => {
  const text = readFileSync(join(root, path), "utf8");
  const imports = [
    ...text.matchAll(
      /(?:^|\n|;)\s*(?:import|export)\s[^;'"]*?from\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']|^import\s*["']([^"']+)["']/gm,
    ),
  ];
  return { path, text, imports: imports.map(([, from, dynamic, bare]) => from ?? dynamic ?? bare ?? "") };
};
const sources = (dir: string): readonly Source[] =>
  readdirSync(join(root, dir), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.includes("node_modules") && !file.includes("dist/"))
    .map((file) => read(join(dir, file)));

const proto = sources("proto/src");
const shim = sources("shim/src");
const gateway = sources("gateway/src");
const shipped = [...proto, ...shim, ...gateway];
const everything = [...shipped, ...sources("test"), ...sources("infra")];

/** `../keys/ring.ts` from `gateway/src/kms/service.ts` → `keys/ring.ts`. */
const resolve = (from: string, specifier: string): string => join(from, "..", specifier);

/** Rows of the reading order, first to last. A row is a file or a folder; files of one row may import each other (cycles are the linter's to find). */
const gatewayOrder = [
  ["log.ts", "watch.ts", "metrics.ts", "identity.ts"],
  ["backend/port.ts", "backend/config.ts"],
  ["keyid.ts", "envelope.ts"],
  ["redis/", "registry/", "audit/"],
  ["backend/"],
  ["keys/"],
  ["kms/"],
  ["http/"],
  ["config.ts"],
  ["pki/"],
  ["cli/"],
  ["main.ts"],
] as const;

const shimOrder = [
  ["config.ts", "log.ts", "metrics.ts", "watch.ts", "socket.ts", "state-file.ts"],
  ["gateway.ts"],
  ["tls.ts"],
  ["upstream.ts"],
  ["status.ts", "decrypts.ts"],
  ["kms.ts"],
  ["server.ts", "health.ts"],
  ["main.ts"],
] as const;

const rowOf = (order: readonly (readonly string[])[], file: string): number => {
  const exact = order.findIndex((row) => row.includes(file));
  return exact === -1 ? order.findIndex((row) => row.some((name) => name.endsWith("/") && file.startsWith(name))) : exact;
};

/** Packages with more than one door, and why. Everything else is imported in one file of a workspace package. */
const severalDoors: Readonly<Record<string, string>> = {
  "@bufbuild/protobuf": "it is the language of the generated messages, not a library to hide",
  "@opentelemetry/api": "an interface without an implementation, made to be everywhere",
};

/** Shipped files beside main.ts that touch `process`, and why. */
const touchesProcess: Readonly<Record<string, string>> = {
  "gateway/src/backend/store.ts": "a lock file names its owner by pid",
};

suite("The architecture", () => {
  test("there is something to look at", () => {
    for (const [name, files] of Object.entries({ proto, shim, gateway })) assert.ok(files.length >= 5, `${name} has ${files.length} files`);
    assert.ok(shipped.flatMap(({ imports }) => imports).length > 100);
    assert.ok(everything.length > shipped.length);
  });

  test("packages import across only from proto", () => {
    const wrong = shipped.flatMap(({ path, imports }) =>
      imports
        .filter((name) => {
          if (name.startsWith("@claviger/")) return !name.startsWith("@claviger/proto/") || path.startsWith("proto/");
          const own = path.split("/")[0] ?? "";
          return name.startsWith(".") && !resolve(path, name).startsWith(`${own}/`);
        })
        .map((name) => `${path} → ${name}`),
    );
    assert.deepEqual(wrong, []);
  });

  for (const { name, files, order } of [
    { name: "gateway", files: gateway, order: gatewayOrder },
    { name: "shim", files: shim, order: shimOrder },
  ])
    test(`inside the ${name} imports go up the reading order`, () => {
      const wrong = files.flatMap(({ path, imports }) => {
        const file = path.slice(`${name}/src/`.length);
        const row = rowOf(order, file);
        if (row === -1) return [`${file} has no row in the reading order`];
        return imports
          .filter((specifier) => specifier.startsWith(".") && specifier.endsWith(".ts"))
          .map((specifier) => resolve(file, specifier))
          .filter((target) => rowOf(order, target) > row || rowOf(order, target) === -1)
          .map((target) => `${file} → ${target}`);
      });
      assert.deepEqual(wrong, []);
    });

  test("no file imports itself by way of others", () => {
    const edges = new Map(
      shipped.map(({ path, imports }) => [path, imports.filter((name) => name.startsWith(".")).map((name) => resolve(path, name))]),
    );
    const done = new Set<string>();
    const visit = (path: string, trail: readonly string[]): void => {
      assert.ok(!trail.includes(path), [...trail, path].join(" → "));
      if (done.has(path)) return;
      for (const next of edges.get(path) ?? []) visit(next, [...trail, path]);
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

  test("each third-party package has one door in a workspace package", () => {
    const doors = new Map<string, Set<string>>();
    for (const { path, imports } of shipped)
      for (const name of imports) {
        if (name.startsWith(".") || name.startsWith("node:") || name.startsWith("@claviger/")) continue;
        const module = /^(?:@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name;
        const key = `${path.split("/")[0]}: ${module}`;
        doors.set(key, (doors.get(key) ?? new Set()).add(path));
      }
    assert.ok(doors.size > 5);
    const several = [...doors].filter(([key, files]) => files.size > 1 && severalDoors[key.split(": ")[1] ?? ""] === undefined);
    assert.deepEqual(
      several.map(([key, files]) => `${key} in ${[...files].join(", ")}`),
      [],
    );
  });

  test("only main.ts touches the process", () => {
    const wrong = shipped
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
      [...text.matchAll(/\bclass \w+ extends (\w+)/g)].filter(([, parent]) => parent !== "Error").map(([found]) => `${path}: ${found}`),
    );
    assert.deepEqual(wrong, []);
  });
});
