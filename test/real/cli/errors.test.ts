// Every error of every command: its status, and one line that says the cause, where, and what to do.
// (docs/architecture.md #parts.)
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test, type TestContext } from "node:test";
import { createCli } from "@claviger/cli/src/run.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { claviger } from "./claviger.ts";
import { commands, type Row, wrongFleets, wrongVaults, wrongWords } from "./error-rows.ts";
import { checkRows, etcdRows, initRows, keyRows, redisRows } from "./error-rows-keys.ts";
import { type Exception, exceptions } from "./error-exceptions.ts";
import { type ErrorText, errorTexts } from "./error-texts.ts";
import { auditRows, nodeRows, pkiRows, registryRows } from "./error-rows-site.ts";
import { fleetRows } from "./error-rows-fleet.ts";
import { loginRows } from "./error-rows-login.ts";
import { initFleetRows } from "./error-rows-vault-fleet.ts";
import { labelRows } from "./error-rows-labels.ts";
import { contextRows, fileRows, oddVaults, otherUserRows, silentVault } from "./error-rows-odd.ts";
import { createWorld, type Ran, type World } from "./error-world.ts";

type Tree = { readonly name: () => string; readonly commands: readonly Tree[] };

function leaves(command: Tree, above = ""): readonly string[] {
  return command.commands.flatMap((one) => {
    const path = `${above}${one.name()}`;
    return one.commands.length === 0 ? [path] : leaves(one, `${path} `);
  });
}

/** As a process of a user who owns nothing. */
async function asNobody(args: readonly string[]): Promise<Ran> {
  const { status, out, err } = await claviger(args, {}, 65_534);
  return { status: status ?? -1, out: out.trimEnd(), err: err.trimEnd() };
}

suite("every error of every command", () => {
  let dir: string;
  let processes: ProcessGroup;
  let world: World;
  let silent: Awaited<ReturnType<typeof silentVault>>;
  let silence: Promise<Ran>;
  const said: string[] = [];

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-errors-"));
    processes = createProcessGroup(dir);
    world = await createWorld(processes, dir);
    // Takes as long as a command waits: meanwhile the others run.
    silent = await silentVault(world);
    silence = asOneself(silent.row);
  });
  after(async () => {
    await world.close();
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  const asOneself = (row: Row): Promise<Ran> => world.run(row.args, row.env);
  const runAll = async (t: TestContext, rows: readonly Row[], run = asOneself): Promise<void> => {
    assert.ok(rows.length > 0, "no rows");
    for (const row of rows)
      await t.test(row.what, async () => {
        const { status = 1, says, isLong = false } = row;
        const ran = await run(row);
        said.push(ran.err, ran.out);
        assert.match(isLong || status === 0 ? `${ran.err}\n${ran.out}` : ran.err, says);
        assert.equal(ran.status, status, ran.err);
        if (!isLong) assert.doesNotMatch(ran.err, /\n/);
        for (const secret of Object.values(world.tokens)) assert.ok(!`${ran.out}${ran.err}`.includes(secret));
        assert.doesNotMatch(ran.err, /hvs\.canary|please report|\n\s+at /);
      });
  };

  test("the table has every command", () => {
    const none = () => {};
    const root = createCli({ out: none, err: none, env: {}, home: "/nowhere" });
    assert.deepEqual(leaves(root).toSorted(), Object.keys(commands).toSorted());
  });
  test("wrong words", (t) => runAll(t, wrongWords()));
  test("a fleet that cannot be found or read", (t) => runAll(t, wrongFleets(world)));
  test("a Vault or a token that is wrong", (t) => runAll(t, wrongVaults(world)));
  test("nodes", (t) => runAll(t, nodeRows(world)));
  test("labels", (t) => runAll(t, labelRows(world)));

  test("the fleet service", (t) => runAll(t, fleetRows(world)));
  test("logins", async (t) => await runAll(t, await loginRows(world)));
  test("certificates", (t) => runAll(t, pkiRows(world)));
  test("audit files", (t) => runAll(t, auditRows(world)));
  test("the registry and the gateways", (t) => runAll(t, registryRows(world)));
  test("keys that are not as they should be", async (t) => await runAll(t, await keyRows(world)));
  test("etcds and snapshots", async (t) => await runAll(t, await etcdRows(world)));
  test("Redis", (t) => runAll(t, redisRows(world)));
  test("a set-up of Vault", (t) => runAll(t, [...initRows(world), ...initFleetRows(world)]));
  test("a provider's socket", async (t) => {
    const { rows, servers } = await checkRows(world);
    await runAll(t, rows);
    if (process.getuid?.() === 0) await runAll(t, otherUserRows(world), ({ args }) => asNobody(args));
    for (const server of servers) server.close();
  });
  test("files, and which Vault", (t) => runAll(t, fileRows(world)));
  test("contexts and the environment", (t) => runAll(t, contextRows(world)));
  test("what stands at a Vault's address and is none", async (t) => {
    const { rows, servers } = await oddVaults(world);
    await runAll(t, rows);
    for (const server of servers) server.close();
  });
  test("a Vault that takes connections and says nothing", async (t) => {
    await runAll(t, [silent.row], () => silence);
    silent.server.close();
  });
  test("a sealed Vault", async (t) => {
    await world.bao.call("PUT", "sys/seal");
    const at = ["--config", world.site("sealed")];
    const says = /^claviger: Vault at .* is sealed; unseal it: bao operator unseal, or vault operator unseal$/;
    const rows = Object.entries(commands).flatMap(([command, { args, asks }]): readonly Row[] =>
      asks === "key" || asks === "vault"
        ? [{ what: command, args: [...command.split(" "), ...args, ...at], says }]
        : [],
    );
    await runAll(t, rows);
  });
  test("every error text of the source was printed, or says why it cannot be here", () => {
    const missed = errorTexts().filter(({ pattern }) => !said.some((text) => pattern.test(text)));
    const isMeant = ({ file, texts }: Exception, one: ErrorText): boolean =>
      one.file === file && texts.some((part) => part === "*" || one.text.includes(part));
    const unexplained = missed.filter((one) => !exceptions.some((exception) => isMeant(exception, one)));
    assert.deepEqual(
      unexplained.map(({ file, text }) => `${file}: ${text}`),
      [],
    );
    for (const exception of exceptions) {
      const { file, texts, where, isOfMachine = false } = exception;
      for (const part of isOfMachine ? [] : texts)
        assert.ok(
          missed.some((one) => isMeant({ ...exception, texts: [part] }, one)),
          `${file}: ${part} was printed, or is no more`,
        );
      if (where !== undefined) assert.ok(existsSync(join(import.meta.dirname, "..", "..", where)), where);
    }
  });
});
