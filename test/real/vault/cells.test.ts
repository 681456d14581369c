// What a stolen login opens: the keys of its own backend and its own cell, and nothing of another one's, in
// one mount, in a mount each and in a namespace each. With policies that `claviger vault init` writes, on a
// real OpenBao. (docs/architecture.md #cells.)
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import type { KeyRef, OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { backendName, keyName, mountPath } from "@claviger/proto/wire/names.ts";
import { type OpenBao, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { silent } from "../../unit/gateway/fakes.ts";
import { claviger } from "../cli/claviger.ts";

/** One login: where its configuration is, and what `vault init` is told. */
type Login = { readonly name: string; readonly config: string; readonly role: string; readonly namespace?: string };

const signal = AbortSignal.timeout(120_000);
const associatedData = Buffer.from("claviger/v1 test");

suite("logins of several cells and backends", () => {
  let dir: string;
  let processes: ProcessGroup;
  let bao: OpenBao;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-cells-"));
    processes = createProcessGroup(dir);
    bao = await startOpenBao(processes, dir);
  });
  after(async () => {
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  const authOf = (name: string) => ({
    kind: "approle" as const,
    mount: mountPath.parse("approle"),
    roleIdFile: join(dir, `${name}.role-id`),
    secretIdFile: join(dir, `${name}.secret-id`),
    wrapped: false,
  });
  const site = (name: string, clusters: readonly string[], settings: object): string => {
    const home = join(dir, name);
    mkdirSync(home);
    writeFileSync(join(home, "clusters.yaml"), `clusters:\n${clusters.map((line) => `  - ${line}\n`).join("")}`);
    const config = join(home, "gateway.yaml");
    writeFileSync(
      config,
      JSON.stringify({
        listen: { port: 0 },
        admin: { port: 0 },
        tls: { cert: "/nowhere/c", key: "/nowhere/k", clientCa: "/nowhere/ca" },
        trustDomain: "fleet.example",
        registry: { kind: "file", file: join(home, "clusters.yaml") },
        audit: { sinks: [{ kind: "stdout" }] },
        ...settings,
      }),
    );
    return config;
  };
  const record = (name: string, i: number, ref: string, cell: string): string =>
    `{ name: ${name}, uid: 01JD9Z6X3QK8V5T7W2M4N6P8R${i}, state: active, labels: { cell: ${cell} }, keys: [{ ${ref}, key: ${name} }] }`;
  const init = (config: string, ...args: readonly string[]) =>
    claviger(["vault", "init", "--config", config, ...args], { VAULT_TOKEN: readFileSync(bao.tokenFile, "utf8") });
  /** Does it, and writes the login's files. @returns what was printed */
  const prepare = async ({ name, config, role, namespace }: Login, ...args: readonly string[]): Promise<string> => {
    const { status, out, err } = await init(config, ...args);
    assert.equal(status, 0, out + err);
    assert.doesNotMatch(out, /FAIL|OPEN/);
    const at = `${namespace === undefined ? "" : `${namespace}/`}auth/approle/role/${role}`;
    const { role_id: roleId } = (await bao.call<{ data: { role_id: string } }>("GET", `${at}/role-id`)).data;
    const { secret_id: secretId } = (await bao.call<{ data: { secret_id: string } }>("POST", `${at}/secret-id`, {}))
      .data;
    writeFileSync(authOf(name).roleIdFile, roleId, { mode: 0o600 });
    writeFileSync(authOf(name).secretIdFile, secretId, { mode: 0o600 });
    return out;
  };
  const open = (name: string, namespace?: string): Promise<OpenBackend> =>
    openBackend({
      name: "main",
      config: {
        kind: "vault",
        addresses: [bao.addr],
        auth: authOf(name),
        ...(namespace !== undefined && { namespace: mountPath.parse(namespace) }),
      },
      log: silent,
    });
  const keyAt = (mount: string, key: string, namespace?: string): KeyRef => ({
    backend: backendName.parse("main"),
    mount: mountPath.parse(mount),
    key: keyName.parse(key),
    ...(namespace !== undefined && { namespace: mountPath.parse(namespace) }),
  });
  /** Each login does all that a gateway does with its own key, and nothing with the other one's. */
  const assertApart = async (a: OpenBackend, keyOfA: KeyRef, b: OpenBackend, keyOfB: KeyRef): Promise<void> => {
    const item = { plaintext: Buffer.from("a DEK seed of 32 bytes, or so..."), associatedData, version: 1 };
    const sealedBy = async (backend: OpenBackend, key: KeyRef): Promise<Uint8Array> => {
      const [sealed] = await backend.wrap(key, [item], signal);
      assert.ok(sealed?.ok === true, "its own key encrypts");
      const [opened] = await backend.unwrap(key, [{ ...sealed.value, associatedData, version: 1 }], signal);
      assert.ok(opened?.ok === true, "and decrypts");
      assert.deepEqual(Buffer.from(opened.value.plaintext), item.plaintext);
      return sealed.value.ciphertext;
    };
    const [ofA, ofB] = [await sealedBy(a, keyOfA), await sealedBy(b, keyOfB)];
    const denied = { reason: "backend_denied" };
    for (const [thief, key, ciphertext] of [
      [a, keyOfB, ofB],
      [b, keyOfA, ofA],
    ] as const) {
      await assert.rejects(thief.unwrap(key, [{ ciphertext, associatedData, version: 1 }], signal), denied);
      await assert.rejects(thief.wrap(key, [item], signal), denied);
      await assert.rejects(thief.describe(key, signal), denied);
      await assert.rejects(thief.promote(key, 1, signal), denied);
      await assert.rejects(thief.rotate(key, signal), denied);
    }
    await Promise.all([a.close(), b.close()]);
  };

  test("two cells of one mount: each login opens the keys of the clusters that its gateways serve", async () => {
    const clusters = [
      record("prod-a", 1, "backend: main, mount: shared", "a"),
      record("prod-b", 2, "backend: main, mount: shared", "b"),
    ];
    const configOf = (cell: string): string =>
      site(`one-mount-${cell}`, clusters, {
        backends: { main: { kind: "vault", addresses: [bao.addr], auth: authOf(cell) } },
        serves: { matchLabels: { cell } },
      });
    const [a, b] = [configOf("a"), configOf("b")];
    const out = await prepare(
      { name: "a", config: a, role: "gateway-a" },
      "--policy",
      "gateway-a",
      "--role",
      "gateway-a",
    );
    assert.match(out, /ok {4}shared\/encrypt\|decrypt\/prod-a/);
    for (const path of ["decrypt/prod-b", "encrypt/prod-b", "keys/prod-b", "keys/prod-b/rotate"])
      assert.ok(out.includes(`  denied  shared/${path}  any access`), path);
    await prepare({ name: "b", config: b, role: "gateway-b" }, "--policy", "gateway-b", "--role", "gateway-b");
    const policy = await init(a, "--print-policy");
    assert.match(policy.out, /prod-a/);
    assert.doesNotMatch(policy.out, /prod-b/);
    const refused = await init(a, "--policy", "gateway-a", "--key-prefix", "prod-");
    assert.deepEqual(
      [refused.status, /opens all of shared, where keys of clusters are .*\(prod-b\)/.test(refused.err)],
      [1, true],
    );
    await assertApart(await open("a"), keyAt("shared", "prod-a"), await open("b"), keyAt("shared", "prod-b"));
  });

  test("two backends with a mount each in one Vault: a policy and a role each, a few lines by prefix, none opens the other", async () => {
    const backends = Object.fromEntries(
      ["east", "west"].map((name) => [name, { kind: "vault", addresses: [bao.addr], auth: authOf(name) }]),
    );
    const clusters = ["east", "west"].flatMap((name, side) =>
      [0, 1, 2].map((i) => record(`prod-${name}-${i}`, side * 3 + i, `backend: ${name}, mount: ${name}`, "a")),
    );
    const config = site("two-mounts", clusters, { backends });
    for (const name of ["east", "west"]) {
      const role = `claviger-gateway-${name}`;
      const out = await prepare({ name, config, role }, "--backend", name, "--key-prefix", "prod-");
      assert.match(out, new RegExp(`create {4}policy ${role}\\n`));
      const other = name === "east" ? "west" : "east";
      assert.ok(out.includes(`  denied  ${other}/decrypt/prod-${other}-0  any access`), out);
      const { data } = await bao.call<{ data: { policy: string } }>("GET", `sys/policies/acl/${role}`);
      assert.ok(data.policy.includes(`path "${name}/decrypt/prod-*"`) && !data.policy.includes(other), data.policy);
    }
    // The second one has left the first as it was.
    assert.match((await init(config, "--backend", "east", "--key-prefix", "prod-")).out, /Nothing was changed/);
    await assertApart(
      await open("east"),
      keyAt("east", "prod-east-0"),
      await open("west"),
      keyAt("west", "prod-west-0"),
    );
  });

  test("two namespaces with a login each: the same names of mount, key, policy and role, and none opens the other", async () => {
    for (const namespace of ["cell-a", "cell-b"]) await bao.call("POST", `sys/namespaces/${namespace}`, {});
    const backends = Object.fromEntries(
      ["cell-a", "cell-b"].map((name) => [
        name,
        { kind: "vault", addresses: [bao.addr], namespace: name, auth: authOf(name) },
      ]),
    );
    const clusters = ["cell-a", "cell-b"].map((name, i) =>
      record(`prod-${i}`, i, `backend: ${name}, mount: transit`, "a"),
    );
    const config = site("two-namespaces", clusters, { backends });
    for (const name of ["cell-a", "cell-b"])
      await prepare(
        { name, config, role: "claviger-gateway", namespace: name },
        "--backend",
        name,
        "--key-prefix",
        "prod-",
      );
    const [a, b] = [await open("cell-a", "cell-a"), await open("cell-b", "cell-b")];
    await assertApart(a, keyAt("transit", "prod-0", "cell-a"), b, keyAt("transit", "prod-1", "cell-b"));
  });
});
