// Which EncryptionConfigurations kube-apiserver takes, by its own word: `claviger doctor node` has a failure for each
// that it refuses, and for none that it takes but those that say why.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { stringify } from "yaml";
import type { DoctorRow } from "@claviger/cli/src/doctor/row.ts";
import { startApiServer } from "../../lab/kubernetes.ts";
import { createProcessGroup, logOf, until } from "../../lab/process-group.ts";
import { encryptionCases } from "./encryption-cases.ts";
import { clavigerHere } from "./here.ts";

suite("an EncryptionConfiguration, judged by kube-apiserver and by doctor", () => {
  const dir = mkdtempSync(join(tmpdir(), "claviger-encryption-"));
  const socket = join(dir, "kms.sock");
  const processes = createProcessGroup(dir);
  const shim = join(dir, "shim.yaml");
  writeFileSync(
    shim,
    stringify({
      socket: { path: socket },
      gateways: ["https://127.0.0.1:9"],
      tls: { cert: "none", key: "none", ca: "none" },
    }),
  );
  after(async () => {
    await processes.stopAll();
    rmSync(dir, { recursive: true, force: true });
  });

  /** It reads the file first of all, then connects to the plugin; there is no etcd. */
  const either = /"command failed" err=|createTransport failed to connect to \{Addr: "(?!127)/;
  const isRefused = async (name: string, encryption: string, isLate: boolean): Promise<boolean> => {
    const etcd = { url: "http://127.0.0.1:9" };
    const api = await startApiServer({ processes, dir, name, etcd, encryption });
    const proc = api.proc();
    const refusal = /"command failed" err=/;
    const word = await until(`${name}'s word`, undefined, () => (isLate ? refusal : either).exec(logOf(proc))?.[0]);
    await processes.stop(proc, 0);
    await api.close();
    return refusal.test(word);
  };
  const failuresOf = async (file: string): Promise<readonly DoctorRow[]> => {
    const words = ["doctor", "node", "--config", shim, "--encryption-config", file, "-o", "json"];
    const { out, err } = await clavigerHere(words, dir);
    assert.doesNotMatch(err, /please report/);
    const { checks } = JSON.parse(out) as { readonly checks: readonly DoctorRow[] };
    return checks.filter(({ id, state }) => id.startsWith("node.encryption-config.") && state === "failure");
  };

  for (const [at, { what, config, stricter, isLate = false }] of encryptionCases(socket).entries())
    test(what, async () => {
      const text = typeof config === "string" ? config : stringify(config, { compat: "yaml-1.1" });
      const file = join(dir, `${at}.yaml`);
      writeFileSync(file, text);
      const refused = await isRefused(`api-${at}`, text, isLate);
      const failures = await failuresOf(file);
      assert.equal(failures.length > 0, refused || stricter !== undefined, JSON.stringify(failures));
      if (stricter !== undefined) assert.ok(!refused, "kube-apiserver refuses it as well: no reason is needed");
    });
});
