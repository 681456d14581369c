// Bytes that a caller does not take, and bytes of its own that nobody wants: neither stays.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { defaultListenLimits } from "@claviger/gateway-server/src/http/limits.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { until } from "../../../../lab/process-group.ts";
import { connectCaller, decryptOf, encryptOf, isZero, requestOf, startLeavable } from "./leaver.ts";

/** More than the system's buffers of a connection take. */
const untaken = 16 * 2 ** 20;

for (const { what, sendMs, leaves } of [
  { what: "leaves", sendMs: 60_000, leaves: true },
  { what: "stays and does not read", sendMs: 300, leaves: false },
])
  test(`a caller that ${what} while its reply fills the connection is not waited for`, async (t) => {
    const plaintext = Buffer.alloc(untaken, 7);
    const secret = plaintext.subarray(0, 32);
    const world = await startLeavable(t, {
      secret,
      limits: { ...defaultListenLimits, bodyMs: sendMs },
      decrypt: () => Promise.resolve(plaintext),
    });
    const caller = await connectCaller(t, world.port);
    caller.tls.write(requestOf(methods.decrypt, decryptOf(Buffer.from([1]), "key")));
    await until("the record", undefined, () => world.records()[0]);
    await world.waitForSecret();
    assert.equal((await world.gauges()).inFlight, 1, "the reply is on its way");
    assert.equal(plaintext[0], 7, "and not zeroized under way");

    if (leaves) caller.tls.destroy();

    await world.waitForInFlight(0);
    await until("the connection to be closed", undefined, async () =>
      (await world.gauges()).connections === 0 ? true : undefined,
    );
    assert.ok(world.seen.buffers.length > 1);
    for (const bytes of world.seen.buffers) assert.ok(isZero(bytes), "a buffer is not zeroized");
    assert.deepEqual(
      world.records().map(({ outcome }) => outcome),
      ["ok"],
      "it was served, whether or not it was taken",
    );
  });

test("what is refused unread is zeroized as well", async (t) => {
  const secret = randomBytes(32);
  const world = await startLeavable(t, { secret });
  for (const [path, sent] of [
    ["/nothing", {}],
    [methods.encrypt, { "content-type": "text/plain" }],
    [methods.encrypt, { "content-encoding": "gzip" }],
    [methods.encrypt, { "content-length": String(2 ** 20) }],
  ] as const) {
    world.forget();
    // Refused from its headers; the body is there by the time that the answer leaves.
    world.gates.audit.isShut = true;
    const caller = await connectCaller(t, world.port);
    caller.tls.resume().write(requestOf(path, encryptOf(secret), sent));
    await world.gates.audit.reached(1);
    await world.waitForSecret();
    world.gates.audit.open();
    await world.waitForInFlight(0);
    caller.tls.destroy();
    await until("the body to be dropped", undefined, () => (world.seen.buffers.every(isZero) ? true : undefined));
  }
});
