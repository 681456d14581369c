// Two administrators and two replicas of the fleet service on an OpenBao: a change that takes two is made once,
// whoever approves it where, and what happens is told at the other replica. (docs/control-plane.md.)
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, suite, test } from "node:test";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { vaultEditor } from "@claviger/gateway-core/src/registry/edit/vault.ts";
import { vaultRegistrySchema } from "@claviger/gateway-core/src/registry/vault.ts";
import { callsOf, type FleetCall } from "../../lab/fleet-call.ts";
import { createPki, type Pki } from "../../lab/fleet.ts";
import { type LabFleetService, operators, setUpFleetVault, startFleetService } from "../../lab/fleet-service.ts";
import { integrityKey, setUpTransit, startOpenBao, transitMount } from "../../lab/openbao.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { silent } from "../../unit/gateway/fakes.ts";
import { claviger, type CliResult } from "../cli/claviger.ts";

const cli = join(import.meta.dirname, "..", "..", "..", "gateway", "cli", "src", "main.ts");
const uid = "01M8CZX875MFSCYTBWR058VXTG";

type Event = Readonly<Record<string, unknown>>;

suite("the two-person rule, at two replicas", () => {
  let dir: string;
  let processes: ProcessGroup;
  let pki: Pki;
  let replicas: readonly [LabFleetService, LabFleetService];
  let calls: { readonly ada: FleetCall; readonly anna: FleetCall };

  /** As an operator with a token of their own, who may ask for the integrity key. */
  let verify: (file: string) => Promise<CliResult>;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    pki = await createPki(dir);
    const bao = await startOpenBao(processes, dir);
    const main = await setUpFleetVault(bao, pki, dir);
    await setUpTransit(bao, [], [], dir);
    const { data } = await bao.call<{ data: { policy: string } }>("GET", "sys/policies/acl/claviger-fleet");
    const hmac = `path "${transitMount}/hmac/${integrityKey}/sha2-256" { capabilities = ["update"] }`;
    await bao.call("PUT", "sys/policies/acl/claviger-fleet", { policy: `${data.policy}\n${hmac}` });
    const integrity = { backend: "main", mount: transitMount, key: integrityKey, version: 1 };
    const context = join(dir, "contexts.yaml");
    const backends = { main: { addresses: [bao.addr] } };
    const contexts = { lab: { backends, registry: "kv:kv/registry", integrity } };
    writeFileSync(context, JSON.stringify({ current: "lab", contexts }));
    const token = readFileSync(bao.tokenFile, "utf8");
    verify = (file) =>
      claviger(["audit", "verify", "--config", context, "--context", "lab", file], { VAULT_TOKEN: token });
    const config = vaultRegistrySchema.parse({ kind: "vault", backend: "main", mount: "kv" });
    const backend = await openBackend({
      name: "main",
      config: { kind: "vault", addresses: [bao.addr], auth: { kind: "token-file", file: bao.tokenFile } },
      log: silent,
    });
    const documents = backend.documents ?? assert.fail("no documents");
    const record = { name: "prod", uid, state: "suspended", rotation: "auto" } as const;
    const keys = [{ backend: "main", mount: "transit", key: "prod" }];
    await vaultEditor({
      config,
      backends: { has: () => true },
      withDocuments: (use) => use(documents),
      announce: () => Promise.resolve(),
    }).addAll(() => [{ ...record, keys } as never]);
    await backend.close();
    const settings = {
      gateways: ["https://gateway.test:8443"],
      registry: config,
      integrity,
      backends: { main },
      tokens: { kind: "vault", backend: "main", mount: "kv" },
      operators: { ...operators, anna: { role: "admin" } },
      approvals: { methods: ["resume", "allow-node"], store: { kind: "vault", backend: "main", mount: "kv" } },
    };
    const start = (name: string) => startFleetService({ processes, dir, pki, settings, name });
    replicas = [await start("fleet-a"), await start("fleet-b")];
    calls = { ada: await callsOf(pki, "ada"), anna: await callsOf(pki, "anna") };
  });
  after(async () => {
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  });

  const at = async (replica: number, who: string, ...args: readonly string[]): Promise<CliResult> =>
    await claviger([...args, ...(await (replicas[replica] ?? assert.fail()).options(who))]);
  const [resume, suspend] = ["active", "suspended"].map((state) => ({ name: "prod", state, reason: "a drill" }));
  /** Asks at the first replica. Resolves with the id of the approval. */
  const ask = async (message: object = resume ?? {}): Promise<string> => {
    const reply = await calls.ada(replicas[0].url, "SetClusterState", message);
    assert.equal(reply.code, "failed_precondition", reply.message);
    return /approve (\S+)$/.exec(reply.message)?.[1] ?? assert.fail(reply.message);
  };
  const stateOf = async (): Promise<unknown> =>
    ((await calls.ada(replicas[1].url, "GetCluster", { name: "prod" })).json["cluster"] as Event)["state"];

  test("what waits at one replica is shown and approved at the other, with a command each", async () => {
    const asked = await at(0, "ada", "cluster", "resume", "prod", "--reason", "a drill");
    assert.equal(asked.status, 3, asked.err);
    const [, id = ""] =
      /^claviger: the fleet service refuses: this takes a second administrator, and waits for one until \S+: claviger approvals approve (\S+)$/m.exec(
        asked.err,
      ) ?? [];
    assert.notEqual(id, "", asked.err);
    const list = await at(1, "anna", "approvals", "list", "-o", "json");
    const [one, ...others] = JSON.parse(list.out) as readonly Event[];
    assert.deepEqual([one?.["id"], one?.["state"], one?.["requestedBy"], others.length], [id, "pending", "ada", 0]);
    const shown = await at(1, "anna", "approvals", "show", id);
    assert.match(shown.out, /^what +resume$/m);
    assert.match(shown.out, new RegExp(`^cluster +prod, uid ${uid}, generation 0$`, "m"));
    assert.match(shown.out, /^request +\{"name":"prod","state":"active","reason":"a drill"\}$/m);
    const own = await at(1, "ada", "approvals", "approve", id);
    assert.deepEqual(
      [own.status, own.err.trim()],
      [1, "claviger: the fleet service refuses: ada asked for this; it takes another administrator"],
    );
    assert.equal(await stateOf(), "suspended");
    const done = await at(1, "anna", "approvals", "approve", id);
    assert.deepEqual(
      [done.status, done.out.trim()],
      [0, "SetClusterState of prod, which ada asked for, is done."],
      done.err,
    );
    assert.equal(await stateOf(), "active");
    const [, audit = ""] = replicas.map((replica) => readFileSync(replica.audit, "utf8"));
    const record = audit
      .split("\n")
      .find((line) => line.includes('"method":"approveChange","') && line.includes('"outcome":"ok"'));
    for (const part of [
      '"operator":"anna"',
      '"requestedBy":"ada"',
      `"approval":"${id}"`,
      '"change":"setClusterState"',
      '"because":"a drill"',
    ])
      assert.ok(record?.includes(part), `${part} in ${record}`);
  });

  test("of ten approvals at both replicas at the same time one makes the change", async () => {
    for (let round = 0; round < 3; round += 1) {
      assert.equal((await calls.ada(replicas[0].url, "SetClusterState", suspend ?? {})).code, "ok");
      const id = await ask({ ...resume, reason: `round ${round}` });
      const replies = await Promise.all(
        Array.from({ length: 10 }, (_, i) =>
          calls.anna((replicas[i % 2] ?? assert.fail()).url, "ApproveChange", { id }),
        ),
      );
      assert.deepEqual(
        replies.map(({ code }) => code).toSorted(),
        [...Array.from({ length: 9 }, () => "failed_precondition"), "ok"],
        JSON.stringify(replies),
      );
      assert.equal(await stateOf(), "active");
    }
  });

  test("a change that was rejected is not made, and says who rejected it", async () => {
    assert.equal((await calls.ada(replicas[0].url, "SetClusterState", suspend ?? {})).code, "ok");
    const id = await ask({ ...resume, reason: "again" });
    const rejected = await at(1, "anna", "approvals", "reject", id, "--reason", "not on a Friday");
    assert.equal(rejected.status, 0, rejected.err);
    const late = await at(0, "anna", "approvals", "approve", id);
    assert.equal(late.status, 1);
    assert.match(late.err, /was rejected by anna/);
    assert.match((await at(0, "ada", "approvals", "show", id)).out, /^note +not on a Friday$/m);
    assert.match((await at(0, "vera", "approvals", "list")).err, /nothing waits for a second administrator/);
    assert.equal(await stateOf(), "suspended");
  });

  test("claviger fleet watch at one replica tells what the other one does, and says when the service ends", async () => {
    const args = ["fleet", "watch", "-o", "json", "--no-retry", ...(await replicas[1].options("vera"))];
    const child = spawn(process.execPath, [cli, ...args], {
      env: { PATH: process.env["PATH"], HOME: "/nonexistent" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
    let err = "";
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async (kind: string): Promise<Event> => {
      for (;;) {
        const line = await lines.next();
        if (line.done === true) throw new Error(`it ended: ${err}`);
        const event = JSON.parse(line.value) as Event;
        if (event["kind"] === kind) return event;
      }
    };
    await next("heartbeat");
    const began = performance.now();
    assert.equal(
      (await calls.ada(replicas[0].url, "RevokeNode", { cluster: "prod", node: "cp-1", reason: "lost" })).code,
      "ok",
    );
    const revoked = await next("node-revoked");
    const took = performance.now() - began;
    assert.deepEqual([revoked["cluster"], revoked["node"], revoked["operator"]], ["prod", "cp-1", ""]);
    assert.ok(took < 5000, `${Math.round(took)} ms`);
    assert.equal(
      (await calls.ada(replicas[1].url, "RevokeNode", { cluster: "prod", node: "cp-2", reason: "lost too" })).code,
      "ok",
    );
    const own = await next("node-revoked");
    assert.deepEqual([own["node"], own["operator"], own["reason"]], ["cp-2", "ada", "lost too"]);
    await processes.stop(replicas[1].proc);
    assert.equal(await closed, 1);
    assert.match(err, /^claviger: the fleet service is not available: the fleet service ends; watch again/m);
    const records = readFileSync(replicas[1].audit, "utf8")
      .split("\n")
      .filter((line) => line.includes('"method":"watchEvents"'));
    assert.equal(records.length, 2, records.join("\n"));
    assert.match(records[0] ?? "", /"operator":"vera".*"cause":"begins"/);
    assert.match(records[1] ?? "", /"outcome":"failed".*"operator":"vera".*"count":\d+/);
  });

  test("the audit file of the service is verified, and an edited, removed or repeated line is named", async () => {
    const file = replicas[1].audit;
    const good = await verify(file);
    assert.match(good.out, /signed up to record \d+, at .*\n\d+ records: as they were written$/m, good.err);
    assert.equal(good.status, 0);
    const lines = readFileSync(file, "utf8").trimEnd().split("\n");
    const place = lines.findLastIndex((line) => line.includes('"approveChange"') && line.includes('"operator":"anna"'));
    const tampered: readonly (readonly [what: string, lines: readonly string[]])[] = [
      ["edited", lines.map((line, i) => (i === place ? line.replace('"operator":"anna"', '"operator":"olga"') : line))],
      ["removed", lines.filter((_, i) => i !== place)],
      ["repeated", [...lines.slice(0, place), lines[place] ?? "", ...lines.slice(place)]],
    ];
    for (const [what, text] of tampered) {
      const copy = join(dir, `${what}.jsonl`);
      writeFileSync(copy, `${text.join("\n")}\n`);
      const { status, out } = await verify(copy);
      assert.equal(status, 1, `${what}: ${out}`);
      assert.match(out, /TAMPERED WITH/);
      assert.match(out, new RegExp(`^\\S*${what}\\.jsonl:\\d+: (?:edited|removed|repeated|reordered|inserted): `, "m"));
    }
    const found = await claviger([
      "audit",
      "search",
      "-o",
      "json",
      "--operator",
      "ada",
      "--method",
      "approveChange",
      file,
    ]);
    assert.match(found.out, /"requestedBy":"ada"/, found.err);
    const none = await claviger(["audit", "search", "--operator", "vera", "--method", "approveChange", file]);
    assert.deepEqual([none.status, none.err.trim()], [1, "claviger: no such record"]);
    const tail = await claviger(["audit", "tail", "-n", "5", file]);
    assert.equal(tail.out.trimEnd().split("\n").length, 6, tail.err);
  });
});
