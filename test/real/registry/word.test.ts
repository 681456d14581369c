// An edit of the registry is done when the gateways say so: by their own word, and a gateway that has
// not said it is named. (docs/architecture.md #registry.)
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { claviger, type CliResult } from "../cli/claviger.ts";

suite("an edit of a registry that two gateways read", () => {
  let dir: string;
  let lab: Lab;
  let kms: KmsClient;
  let urls: readonly string[];
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, backend: "embedded", redis: false, gateways: 2 });
    kms = kmsClient(lab.shims[0]?.socket ?? "");
    urls = lab.gateways.map(({ metrics }) => new URL(metrics).origin);
  });
  after(async () => {
    kms.close();
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const run = (verb: string, ...args: readonly string[]): Promise<CliResult> =>
    claviger(["cluster", verb, "cluster-1", "--lab", lab.file, ...args]);
  const isRefused = (): Promise<boolean> =>
    kms.status().then(
      () => false,
      () => true,
    );

  test("is in force at both when the command ends", async () => {
    const { status, out, err } = await run("suspend");
    assert.equal(status, 0, err);
    assert.ok(out.includes(`In force at ${urls.join(", ")}, by their own word.`), out);
    assert.equal(await isRefused(), true);
    assert.equal((await run("resume")).status, 0);
    assert.equal(await isRefused(), false);
  });

  test("a gateway that is stopped was not heard: said, and an error where it was named", async () => {
    const [first, second] = lab.gateways;
    assert.ok(first !== undefined && second !== undefined);
    await lab.processes.stop(second.proc);
    const said = await run("suspend");
    assert.equal(said.status, 0, said.err);
    assert.ok(said.out.includes(`In force at ${urls[0]}, by their own word.`), said.out);
    assert.match(said.out, /Of further gateways nothing is known/);
    const named = await run("resume", "--gateway", String(urls[0]), "--gateway", String(urls[1]));
    assert.equal(named.status, 1);
    assert.match(named.out, /suspended → active/);
    assert.ok(named.err.includes(`\n  - gateway ${urls[1]}: ECONNREFUSED`), named.err);
    assert.equal(await isRefused(), false);
    const wrong = await run("suspend", "--gateway", "10.0.0.1:9090");
    assert.equal(wrong.status, 1);
    assert.match(wrong.err, /--gateway 10\.0\.0\.1:9090 is not the URL of a gateway's second listener/);
    // Nothing is written for a call that is wrong.
    const { out } = await claviger(["cluster", "list", "--lab", lab.file]);
    assert.match(out, /^cluster-1 +active /m);
  });
});
