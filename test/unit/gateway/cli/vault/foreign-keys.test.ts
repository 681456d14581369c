// Which keys lie in reach of a backend's login and are others'.
import assert from "node:assert/strict";
import { test } from "node:test";
import { foreignKeys, sharingBackends } from "@claviger/cli/src/vault/foreign-keys.ts";
import { wantedKeys } from "@claviger/cli/src/vault/desired-state.ts";
import { createServes } from "@claviger/gateway-core/src/registry/labels.ts";
import { parseRegistry } from "@claviger/gateway-core/src/registry/merge.ts";
import { checkConfig, z } from "@claviger/proto/runtime/config.ts";
import { backendSchema } from "@claviger/gateway-core/src/backend/config.ts";

const auth = { kind: "token-file", file: "t" };
const vault = (addresses: readonly string[], namespace?: string) => ({ kind: "vault", addresses, namespace, auth });
const [one, two] = ["https://one:8200", "https://two:8200"];
const backends = checkConfig(
  "test",
  {
    main: vault([one], "team"),
    beside: vault([one], "team"),
    below: vault([two, one], "team/x"),
    outside: vault([one], "other"),
    root: vault([one]),
    elsewhere: vault([two], "team"),
    local: { kind: "embedded", file: "f" },
  },
  z.record(z.string(), backendSchema),
);

test("backends stand side by side where they log in to one namespace of one Vault", () => {
  assert.deepEqual(sharingBackends(backends, "main"), ["beside"]);
  for (const name of ["below", "outside", "root", "elsewhere", "local", "nobody"])
    assert.deepEqual(sharingBackends(backends, name), [], name);
});

test("others' keys are those of other cells and other backends that a policy there could open, and not shared ones", () => {
  const lines = [
    ["own", "main", "a", "own"],
    ["shared-a", "main", "a", "shared"],
    ["shared-b", "main", "b", "shared"],
    ["cell-b", "main", "b", "theirs"],
    ["next", "beside", "a", "next"],
    ["deep", "below", "a", "deep"],
    ["far", "outside", "a", "far"],
    ["top", "root", "a", "top"],
    ["away", "elsewhere", "a", "away"],
    ["file", "local", "a", "file"],
  ].map(
    ([name, backend, cell, key], i) =>
      `  - { name: ${name}, uid: 01JD9Z6X3QK8V5T7W2M4N6P8R${i}, state: active, labels: { cell: ${cell} }, keys: [{ backend: ${backend}, mount: transit, key: ${key} }] }\n`,
  );
  const registry = parseRegistry("test", `clusters:\n${lines.join("")}`, new Set(Object.keys(backends)), undefined);
  const records = [...registry.values()];
  const serves = createServes({ matchLabels: { cell: "a" } });
  const wanted = wantedKeys({ records: records.filter(serves), backend: "main", login: "team" });
  const pathsOf = (served: typeof serves): readonly string[] =>
    foreignKeys({ records, backends, backend: "main", serves: served, wanted }).map(({ at, name }) => `${at}/${name}`);
  assert.deepEqual(pathsOf(serves), ["transit/theirs", "transit/next", "x/transit/deep"]);
});
