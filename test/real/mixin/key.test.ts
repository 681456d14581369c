// The alert of a key version that decrypts no longer: gateways keep ciphertexts to try in a registry in Vault alone,
// so that it has a site of its own. Part of the full form; its unit test has it always.
import { mkdtemp, rm } from "node:fs/promises";
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startLab } from "../../lab/lab.ts";
import { until } from "../../lab/process-group.ts";
import { claviger } from "../cli/claviger.ts";
import { watchSite } from "./world.ts";

const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";

async function trial(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const lab = await startLab({
    dir,
    gatewayExtra: { registry: { kind: "vault", backend: "main", mount: "claviger" } },
  });
  const world = await watchSite(dir, lab);
  try {
    const { vault } = lab;
    assert.ok(vault !== undefined);
    const done = async (...args: readonly string[]): Promise<void> => {
      const { status, out, err } = await claviger([...args, "--lab", lab.file]);
      assert.equal(status, 0, `${err}\n${out}`);
    };
    await done("vault", "init", "--update");
    await done("cluster", "add", "cluster-1", "--backend", "main", "--mount", "transit");
    await done("vault", "init", "--update");
    type Documents = { readonly data?: { readonly keys: readonly string[] } };
    type Kept = { readonly data: { readonly data: { readonly versions: readonly unknown[] } } };
    const kept = async (): Promise<number> => {
      const { data } = await vault.call<Documents>("LIST", "claviger/metadata/registry-canary", undefined, [200, 404]);
      const found = await Promise.all(
        (data?.keys ?? []).map((name) => vault.call<Kept>("GET", `claviger/data/registry-canary/${name}`)),
      );
      return Math.max(0, ...found.map((one) => one.data.data.versions.length));
    };
    const untilKept = (count: number): Promise<true> =>
      until("a ciphertext to be kept", undefined, async () => ((await kept()) === count ? true : undefined), 30_000);
    const key = "transit/keys/cluster-1";
    await untilKept(1);
    await vault.call("POST", `${key}/rotate`);
    await untilKept(2);
    assert.ok(!(await world.firing()).has("ClavigerKeyVersionBroken"));
    // Somebody makes the key anew.
    await vault.call("POST", `${key}/config`, { deletion_allowed: true });
    await vault.call("DELETE", key);
    await vault.call("POST", key, { type: "aes256-gcm96" });
    await world.untilFired(["ClavigerKeyVersionBroken"]);
  } finally {
    await world.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

if (isFull) test("a key that is deleted and made anew fires ClavigerKeyVersionBroken", trial);
