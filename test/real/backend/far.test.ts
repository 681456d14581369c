// A Vault on another continent: slow is not down, and a second address is never worse than none.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, suite, test } from "node:test";
import { pino } from "pino";
import { type Relay, startRelay } from "../../lab/relay.ts";
import { aad, refOf, soon, startWorld, valueOf, type World } from "./world.ts";

const calls = process.env["CLAVIGER_TEST_FULL"] === "1" ? 100 : 12;
/** kube-apiserver's own. */
const deadlineMs = 3000;

suite("a Vault that is 700 ms away, and 1,200 ms by its other address", () => {
  let world: World;
  let near: Relay;
  let far: Relay;
  before(async () => {
    world = await startWorld();
    const port = Number(new URL(world.bao.addr).port);
    [near, far] = await Promise.all([startRelay(port, 700), startRelay(port, 1200)]);
  });
  after(async () => {
    near.close();
    far.close();
    await world.stop();
  });

  for (const count of [1, 2])
    test(`${count === 1 ? "one address" : "both addresses"}: every call is served, and no address goes up and down`, async () => {
      const lines: string[] = [];
      const log = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
      const addresses = [near, far].slice(0, count).map(({ port }) => `http://127.0.0.1:${port}`);
      const backend = await world.open(world.approle, { addresses }, log);
      // The first login, and what is needed for it, has no caller that waits.
      await backend.health(soon());
      const failures: string[] = [];
      for (let i = 0; i < calls; i++) {
        const item = { plaintext: randomBytes(32), associatedData: aad, version: 1 };
        const began = performance.now();
        await backend
          .wrap(refOf("one"), [item], soon(deadlineMs))
          .then(([outcome]) => valueOf(outcome))
          .catch((error: unknown) =>
            failures.push(`${String(error)} after ${Math.round(performance.now() - began)} ms`),
          );
      }
      assert.deepEqual(failures, []);
      assert.deepEqual(
        lines.filter((line) => line.includes("vault-address")),
        [],
      );
      const states = backend.addresses?.() ?? [];
      assert.ok(states.every(({ isUp }) => isUp));
      assert.ok((states[0]?.latencyMs ?? 0) >= 700);
    });
});
