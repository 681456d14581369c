// The memory of a shim and of a gateway some time after they handled known seeds: what is left of
// them. (SECURITY.md, "What a core dump holds".)
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatTable } from "@claviger/proto/runtime/table.ts";
import { formsOf } from "../../lab/forms.ts";
import { kmsClient } from "../../lab/kms.ts";
import { startLab } from "../../lab/lab.ts";
import { searchMemory } from "../../lab/memory.ts";

const total = 1000;
const waitMs = process.env["CLAVIGER_TEST_FULL"] === "1" ? 60_000 : 5000;

test(`${total} round trips with known seeds, and ${waitMs / 1000} s later no more of them in memory than SECURITY.md says`, async () => {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const lab = await startLab({ dir, redis: false });
  try {
    const client = kmsClient(lab.shims[0]?.socket ?? "");
    const seeds = Array.from({ length: total }, () => randomBytes(32));
    let keyId = "";
    for (const seed of seeds) {
      const sealed = await client.encrypt(seed);
      assert.ok(seed.equals(await client.decrypt(sealed)));
      keyId = sealed.keyId;
    }
    client.close();
    await sleep(waitMs);
    const patterns = [...seeds.flatMap(formsOf), { name: "key_id", bytes: Buffer.from(keyId) }];
    const bounds = {
      // Some 500; each seed passes twice, and on a busy machine less of that memory is used again.
      shim: { raw: total * 1.5, base64: 0, hex: 0 },
      gateway: { raw: total * 0.05, base64: total * 0.02, hex: 0 },
    };
    const rows: string[][] = [];
    const checks: (() => void)[] = [];
    for (const { name, pid } of [lab.shims[0]?.proc, lab.gateways[0]?.proc].filter((proc) => proc !== undefined)) {
      const { found, searched } = searchMemory(pid, patterns);
      // A search that finds nothing at all would be broken: this is no secret, and it is there.
      assert.ok((found.get("key_id") ?? 0) > 0, "the search finds what is there");
      for (const [form, most] of Object.entries(name.startsWith("shim") ? bounds.shim : bounds.gateway))
        checks.push(() =>
          assert.ok(
            (found.get(form) ?? 0) <= most,
            `${name}: ${found.get(form)} seeds, ${form}; at most ${most} are documented`,
          ),
        );
      rows.push([
        name,
        `${Math.round(searched / 1e6)} MB`,
        ...["raw", "base64", "hex"].map((form) => String(found.get(form) ?? 0)),
      ]);
    }
    // After the table: it says more than the first bound that does not hold.
    console.log(formatTable(["process", "searched", "raw", "base64", "hex"], rows));
    for (const check of checks) check();
  } finally {
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  }
});
