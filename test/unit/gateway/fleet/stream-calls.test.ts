// How long a stream lasts: as long as what its caller has shown, whatever else is away.
// (docs/architecture.md #control-plane.)
import assert from "node:assert/strict";
import type { TLSSocket } from "node:tls";
import { suite, test, type TestContext } from "node:test";
import type { AuditEntry } from "@claviger/gateway-core/src/audit/record.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import type { Operator } from "../../../../gateway/fleet/src/caller.ts";
import { createGrant } from "../../../../gateway/fleet/src/grants.ts";
import { createStreamCalls } from "../../../../gateway/fleet/src/http/stream-calls.ts";
import { createRates } from "../../../../gateway/fleet/src/rates.ts";
import { type Refusal, refuse } from "../../../../gateway/fleet/src/refusal.ts";
import { tokenOperatorName } from "@claviger/proto/wire/names.ts";

/** A stream of a caller whose token ends in three seconds, and whom the service is asked about each second. */
async function startStream(t: TestContext, asked: () => Error | undefined) {
  t.mock.timers.enable({ apis: ["Date", "setInterval", "setTimeout"], now: 1_000_000 });
  const operator: Operator = {
    kind: "operator",
    operator: tokenOperatorName.parse("oidc:corp:ada"),
    until: 1_003_000,
    ...createGrant({ role: "viewer" }),
  };
  let times = 0;
  const records: AuditEntry[] = [];
  const calls = createStreamCalls({
    callerOf: () => {
      times += 1;
      const error = times === 1 ? undefined : asked();
      return error === undefined ? Promise.resolve(operator) : Promise.reject(error);
    },
    streams: {
      async *watchEvents(_, __, ___, signal) {
        yield {};
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      },
    },
    rates: createRates({ operator: 10, node: 1, address: 1 }),
    audit: {
      record: (entry) => {
        records.push(entry);
        return Promise.resolve();
      },
      isHealthy: () => true,
      sinks: () => [],
      signedAt: () => undefined,
      reopen: () => Promise.resolve(),
      close: () => Promise.resolve(),
    },
    onCall: () => {},
    log: silentLog,
  });
  const socket = { remoteAddress: "127.0.0.1", destroy: () => {} } as unknown as TLSSocket;
  const stream = calls.run(
    "watchEvents",
    { cursor: "" },
    {
      socket,
      shown: { authorization: "Bearer x" },
      signal: new AbortController().signal,
    },
  );
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  let ended: Refusal | undefined;
  const end = iterator.next().then(
    () => assert.fail("it ends with a refusal"),
    (error: unknown) => {
      ended = error as Refusal;
    },
  );
  return {
    records,
    asked: () => times,
    end,
    /** What the stream has ended with after another second. */
    second: async (): Promise<Refusal | undefined> => {
      t.mock.timers.tick(1000);
      await new Promise((resolve) => setImmediate(resolve));
      return ended;
    },
  };
}

suite("a stream", () => {
  test("ends with its token, also while the issuer is away and nobody can be judged", async (t) => {
    const stream = await startStream(t, () => refuse("unavailable", "the keys of the issuer cannot be read"));
    assert.deepEqual([await stream.second(), await stream.second()], [undefined, undefined]);
    const ended = await stream.second();
    assert.deepEqual([ended?.code, ended?.message], ["unauthenticated", "the token has expired; get another"]);
    await stream.end;
    assert.equal(stream.asked(), 4);
    const { outcome, cause, operator } = stream.records.at(-1) ?? {};
    assert.deepEqual([outcome, cause, operator], ["denied", "the token has expired; get another", "oidc:corp:ada"]);
  });

  test("ends with its token, though calls are given some seconds more for clocks that differ", async (t) => {
    const stream = await startStream(t, () => undefined);
    assert.deepEqual([await stream.second(), await stream.second()], [undefined, undefined]);
    assert.equal((await stream.second())?.code, "unauthenticated");
    await stream.end;
  });

  test("ends at once when its caller counts no more, with the reason", async (t) => {
    const stream = await startStream(t, () => refuse("permission_denied", "operator oidc:corp:ada has no role"));
    assert.equal((await stream.second())?.message, "operator oidc:corp:ada has no role");
    await stream.end;
  });
});
