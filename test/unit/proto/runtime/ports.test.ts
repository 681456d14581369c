// Who listens on a port, as a real process of Node.js shows it in /proc.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createCheck } from "@claviger/proto/runtime/check.ts";
import { checkPorts, holderOf } from "@claviger/proto/runtime/ports.ts";

const source = `require("net").createServer().listen(0, "127.0.0.1", function () { console.log(this.address().port); })`;

suite("who listens on a port", () => {
  let dir: string;
  let script: string;
  const children: ChildProcess[] = [];

  before(() => {
    dir = realpathSync(mkdtempSync(join(tmpdir(), "ports-")));
    script = join(dir, "program.cjs");
    writeFileSync(script, source);
    symlinkSync(script, join(dir, "program"));
  });
  after(() => {
    for (const child of children) child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  });

  const listen = async (args: readonly string[], argv0 = process.execPath): Promise<number> => {
    const child = spawn(process.execPath, args, { argv0, cwd: dir, stdio: ["ignore", "pipe", "inherit"] });
    children.push(child);
    const [port] = (await once(child.stdout, "data")) as [Buffer];
    return Number(port.toString());
  };

  for (const [what, args] of [
    ["its script", ["program.cjs"]],
    ["a link without an extension, as npm makes them", ["./program", "--config", "gateway.yaml"]],
    ["a script behind options", ["--max-old-space-size=64", "program.cjs", "x.js"]],
  ] as const)
    test(`is known by ${what}`, async () => {
      const port = await listen(args);
      assert.equal(holderOf(port)?.script, script);
      const check = createCheck();
      const listener = { setting: "admin", address: "127.0.0.1", port };
      for (const own of [script, join(dir, "program")])
        await checkPorts(check, [listener], { pid: process.pid, script: own, uid: undefined });
      assert.deepEqual(
        check.rows().map(({ verdict }) => verdict),
        ["note", "note"],
      );
    });

  test("is known by the name that a script has in a container, where it is not there by that name", async () => {
    const gone = join(dir, "gone.cjs");
    writeFileSync(gone, source);
    const port = await listen([gone]);
    rmSync(gone);
    assert.equal(holderOf(port)?.script, gone);
  });

  test("is a stranger where another program listens, and its arguments are not shown", async () => {
    const port = await listen(["-e", source, "hunter2"]);
    const check = createCheck();
    const own = { pid: process.pid, script, uid: process.getuid?.() };
    await checkPorts(check, [{ setting: "admin", address: "127.0.0.1", port }], own);
    const [row] = check.rows();
    assert.equal(row?.verdict, "failed");
    assert.doesNotMatch(JSON.stringify(row), /hunter2/);
  });
});
