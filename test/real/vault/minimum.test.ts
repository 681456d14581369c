// min_decryption_version lowered behind the gateways' back, as `terraform apply` did: said once, and
// counted until it is put right. (docs/architecture.md #rotation.)
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { request } from "undici";
import { type Lab, startLab } from "../../lab/lab.ts";
import { logOf, until } from "../../lab/process-group.ts";
import { kmsClient } from "../../lab/kms.ts";

suite("a retirement that somebody takes back", () => {
  let dir: string;
  let lab: Lab;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    lab = await startLab({ dir, shims: 1, gateways: 1 });
  });
  after(async () => {
    await lab.stop();
    await rm(dir, { recursive: true, force: true });
  });

  test("is logged once and stands in the metrics until the versions are retired again", async () => {
    const [gateway] = lab.gateways;
    const [shim] = lab.shims;
    const bao = lab.vault;
    assert.ok(gateway !== undefined && shim !== undefined && bao !== undefined);
    const client = kmsClient(shim.socket);
    await client.status();
    client.close();
    const key = `transit/keys/${shim.cluster}`;
    const config = (min_decryption_version: number): Promise<unknown> =>
      bao.call("POST", `${key}/config`, { min_decryption_version });
    const lines = (event: string): readonly { from: number; to: number; level: number }[] =>
      logOf(gateway.proc)
        .split("\n")
        .filter((line) => line.includes(`"event":"${event}"`))
        .map((line) => JSON.parse(line) as { from: number; to: number; level: number });
    const reopened = async (): Promise<string | undefined> => {
      const page = await (await request(gateway.metrics)).body.text();
      return /^claviger_gateway_reopened_key_versions(?:\{[^}]*\})? (\d+)/m.exec(page)?.[1];
    };
    const seen = (event: string, count: number): Promise<true> =>
      until(event, gateway.proc, () => (lines(event).length === count ? true : undefined));

    for (let version = 2; version <= 3; version++) await bao.call("POST", `${key}/rotate`, {});
    await until("the promotion", gateway.proc, async () => {
      const { data } = await bao.call<{ data: { min_encryption_version: number } }>("GET", key);
      return data.min_encryption_version === 3 ? true : undefined;
    });
    await config(3);
    await seen("key-versions-retired", 1);
    assert.equal(await reopened(), "0");
    await config(1);
    await seen("key-versions-reopened", 1);
    assert.deepEqual(
      lines("key-versions-reopened").map(({ from, to, level }) => [from, to, level]),
      [[3, 1, 40]],
    );
    assert.equal(await reopened(), "2");
    await config(3);
    await seen("key-versions-retired", 2);
    assert.equal(await reopened(), "0");
    // Several looks have passed since: one line for the one change.
    assert.equal(lines("key-versions-reopened").length, 1);
  });
});
