// Program and schema on the same configurations: each setting of a good one is taken away and given values of every
// kind. What a program takes, an editor must not underline; what a program refuses and a schema does not is of few kinds.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { parse } from "yaml";
import { contextsSchema } from "@claviger/cli/src/contexts.ts";
import { gatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { checkConfig, ConfigError, type z } from "@claviger/proto/runtime/config.ts";
import { shimConfig } from "@claviger/shim/src/config.ts";
import { fleetConfig } from "../../../gateway/fleet/src/config.ts";

const root = join(import.meta.dirname, "..", "..", "..");

type Path = readonly (string | number)[];
type Tree = { [name: string]: unknown };

const values: readonly unknown[] = [
  null,
  true,
  false,
  0,
  1,
  -1,
  1.5,
  70_000,
  1e12,
  "",
  "x",
  "on",
  "0",
  "a b",
  "10s",
  "0s",
  "1000h",
  "10",
  "10 s",
  "1.5m",
  ".5s",
  "1e3s",
  "https://a.example:1",
  "http://a.example",
  "a.example:1",
  "https://u:p@a.example",
  "/a",
  "é",
  [],
  ["x"],
  [1],
  {},
  { x: 1 },
  { kind: "x" },
];

/** Every place in a tree, the whole one first. */
function* places(value: unknown, at: Path = []): Generator<Path> {
  yield at;
  if (Array.isArray(value)) for (const [i, one] of value.entries()) yield* places(one, [...at, i]);
  else if (typeof value === "object" && value !== null)
    for (const [name, one] of Object.entries(value)) yield* places(one, [...at, name]);
}

/** A copy with another value at a place; `undefined` takes it away. */
function changed(whole: unknown, [first, ...rest]: Path, value: unknown): unknown {
  if (first === undefined) return value;
  const copy = (Array.isArray(whole) ? [...(whole as unknown[])] : { ...(whole as object) }) as Tree;
  if (rest.length === 0 && value === undefined) delete copy[first];
  else copy[first] = changed(copy[first], rest, value);
  return Array.isArray(copy) ? copy.filter(() => true) : copy;
}

const config = (text: string): unknown => parse(text);
const common = `
trustDomain: fleet.example
registry: { kind: vault, backend: main, mount: claviger, path: registry }
backends:
  main:
    kind: vault
    addresses: ["https://vault.example:8200"]
    namespace: team
    tls: { ca: /ca, cert: /c, key: /k, serverName: vault.example }
    auth: { kind: approle, mount: approle, roleIdFile: /r, secretIdFile: /s }
integrity: { backend: main, mount: transit, key: claviger-integrity, version: 1 }
redis: { kind: standalone, node: "redis:6379", username: u, passwordFile: /p, tls: { ca: /ca }, prefix: claviger }
log: { level: info }
tracing: { endpoint: "http://collector:4318/v1/traces", ratio: 0.01, delay: 5s }
`;
const subjects: readonly {
  readonly name: string;
  readonly schema: z.core.$ZodType;
  readonly good: readonly unknown[];
}[] = [
  {
    name: "gateway",
    schema: gatewayConfig,
    good: [
      config(`${common}
listen: { address: 0.0.0.0, port: 8443, limits: { connections: 1500, connectionsPerIdentity: 64, handshake: 5s, bodyBytes: 67108864 } }
admin: { address: 0.0.0.0, port: 9443 }
tls: { cert: /c, key: /k, clientCa: /ca }
keys: { refresh: 10s, canary: 1m }
audit: { required: true, sinks: [{ kind: stdout }, { kind: file, path: /a }, { kind: syslog, node: "s:6514" }] }
`),
      parse(readFileSync(join(root, "infra/gateway/gateway.yaml"), "utf8")),
      {
        ...(parse(readFileSync(join(root, "infra/gateway/gateway.yaml"), "utf8")) as object),
        integrity: { backend: "main", mount: "transit", key: "k", version: 1 },
        redis: { kind: "sentinel", sentinels: ["s1:26379", "[::1]:26379"], master: "main" },
        audit: { sinks: [{ kind: "syslog-socket", path: "/dev/log" }] },
        registry: { kind: "file", file: "/r" },
      },
    ],
  },
  {
    name: "shim",
    schema: shimConfig,
    good: [
      config(`
socket: { path: /run/claviger/kms.sock, mode: "0660", group: 65532 }
gateways: ["https://a:1", "https://b:1"]
tls: { cert: /c, key: /k, ca: /ca }
renewal: { url: "https://f:1" }
health: { address: 127.0.0.1, port: 9101 }
outage: { healthyFor: 10m, degradedFor: 1h }
log: { level: info }
tracing: { endpoint: "http://collector:4318/v1/traces", ratio: 0.01, delay: 5s }
stateFile: /s
`),
    ],
  },
  { name: "fleet", schema: fleetConfig, good: [parse(readFileSync(join(root, "infra/fleet/fleet.yaml"), "utf8"))] },
  {
    name: "cli",
    schema: contextsSchema,
    good: [
      config(`
current: prod
contexts:
  prod:
    backends: { main: { kind: vault, addresses: ["https://v:1"], auth: { kind: token-file, file: /t }, tls: { ca: /ca } } }
    registry: { kind: vault, backend: main, mount: claviger, path: registry }
    gateways: ["http://10.0.0.11:9090"]
    etcd: { prod-eu: { endpoints: ["https://10.0.0.1:2379"], ca: /ca, cert: /c, key: /k } }
    fleet: { url: "https://f:1", ca: /ca, cert: /c, key: /k }
`),
    ],
  },
];

/** What a schema does not say: names, addresses, how long a duration may be, what hangs together, what may be shorter. */
const left =
  /^must be (?:a duration|lower-case letters|letters, digits|path segments|https?|an absolute path|a URL|HOST:PORT)|go together|^(?:is missing; it )?must be (?:one of vault|a mapping)/;

suite("program and schema agree", () => {
  for (const { name, schema, good } of subjects)
    test(name, () => {
      const file = join(root, "docs", "reference", "schema", `${name}.json`);
      const validate = new Ajv2020({ strict: false }).compile(JSON.parse(readFileSync(file, "utf8")) as object);
      const problemsOf = (tree: unknown): readonly string[] => {
        try {
          checkConfig("f", tree, schema);
          return [];
        } catch (error) {
          if (error instanceof ConfigError) return error.problems;
          throw error;
        }
      };
      const underlined: string[] = [];
      const unseen = new Map<string, string>();
      let count = 0;
      for (const whole of good) {
        assert.deepEqual(problemsOf(whole), []);
        for (const at of places(whole))
          for (const value of [undefined, ...values]) {
            if (at.length === 0 && value === undefined) continue;
            const tree = changed(whole, at, value);
            count++;
            const problems = problemsOf(tree);
            const isTaken = validate(tree);
            const what = `${at.join(".")} = ${JSON.stringify(value)}`;
            if (problems.length === 0 && !isTaken) underlined.push(`${what}: ${JSON.stringify(validate.errors)}`);
            if (problems.length > 0 && isTaken)
              for (const problem of problems) unseen.set(problem.replace(/^[^:]*: /, ""), what);
          }
      }
      assert.ok(count > 500, `${count} configurations`);
      assert.deepEqual(underlined, []);
      assert.deepEqual(
        [...unseen].filter(([problem]) => !left.test(problem)),
        [],
      );
    });
});
