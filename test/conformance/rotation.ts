// Checks 36 to 38: what a rotation may look like from outside.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Check, expect, type Target } from "./check.ts";
import { encrypt, status } from "./rpc.ts";

function propagation(target: Target): number {
  return target.propagationMs ?? 15_000;
}

/**
 * The key_ids that Status shows, one after the other, while `work` runs and until they have been
 * the same for a while.
 */
async function watchKeyIds(call: () => Promise<string | undefined>, until: () => boolean): Promise<readonly string[]> {
  const seen: string[] = [];
  while (!until()) {
    const keyId = await call();
    if (keyId !== undefined && seen.at(-1) !== keyId) seen.push(keyId);
    await sleep(20);
  }
  return seen;
}

export const rotationChecks: readonly Check[] = [
  {
    id: 36,
    title: "a rotation under Encrypts: the key_id changes once on every node, never back, and all agree",
    needs: ["rotate", "secondSocket"],
    async run(target, at) {
      const nodes = [await at.open(), await at.open(target.secondSocket)];
      let over = false;
      const failures: number[] = [];
      const load = nodes.map(async (node) => {
        while (!over) {
          const { code } = await encrypt(node, { plaintext: randomBytes(32), uid: "conformance" });
          if (code !== 0) failures.push(code);
          await sleep(20);
        }
      });
      const watched = nodes.map((node) =>
        watchKeyIds(
          async () => (await status(node, {})).value?.keyId,
          () => over,
        ),
      );
      await sleep(300);
      await target.rotate?.();
      await sleep(propagation(target) + 1000);
      over = true;
      await Promise.all(load);
      const histories = await Promise.all(watched);
      for (const seen of histories) expect(seen.length === 2, `a node showed ${seen.length} key_ids`);
      expect(histories[0]?.[1] === histories[1]?.[1], "the nodes do not agree");
      expect(failures.length === 0, `${failures.length} Encrypts failed`);
      return "one change each, the same key_id";
    },
  },
  {
    id: 37,
    title: "rotated again, deleted and made anew: every time a key_id that never was",
    needs: ["rotate", "recreate"],
    async run(target, at) {
      const connection = await at.open();
      const seen: string[] = [];
      const note = async (): Promise<void> => {
        const before = seen.at(-1);
        for (const end = Date.now() + propagation(target) + 5000; Date.now() < end; await sleep(100)) {
          const { value } = await status(connection, {});
          if (value === undefined || value.keyId === before || value.healthz !== "ok") continue;
          if ((await encrypt(connection, { plaintext: randomBytes(32), uid: "conformance" })).code !== 0) continue;
          expect(!seen.includes(value.keyId), "a key_id came back");
          seen.push(value.keyId);
          return;
        }
        throw new Error(`no new key_id after step ${seen.length}`);
      };
      await note();
      await target.rotate?.();
      await note();
      await target.recreate?.();
      await note();
      await target.rotate?.();
      await note();
      return `${seen.length} different key_ids`;
    },
  },
  {
    id: 38,
    title: "replicas behind a node that disagree for a moment: 100 Status and Encrypts do not flap",
    needs: ["rotate"],
    async run(target, at) {
      const connection = await at.open();
      await target.rotate?.();
      const seen: string[] = [];
      let mismatches = 0;
      for (let i = 0; i < 100; i++) {
        const before = (await status(connection, {})).value?.keyId;
        const { value } = await encrypt(connection, { plaintext: randomBytes(32), uid: "conformance" });
        const after = (await status(connection, {})).value?.keyId;
        expect(value !== undefined, "an Encrypt failed");
        if (value.keyId !== before && value.keyId !== after) mismatches += 1;
        for (const keyId of [before, after]) if (keyId !== undefined && seen.at(-1) !== keyId) seen.push(keyId);
        await sleep(propagation(target) / 100);
      }
      expect(mismatches === 0, `${mismatches} Encrypts under a key_id of neither Status`);
      expect(new Set(seen).size === seen.length, "a key_id came back");
      return `${seen.length} key_ids, none twice`;
    },
  },
];
