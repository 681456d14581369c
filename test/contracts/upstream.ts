// The contract of the Upstream port, for gateways behind it and for the fake of the unit tests.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import { KmsError, type Reason } from "@claviger/proto/wire/errors.ts";
import type { Answered, UpstreamCall } from "@claviger/shim/src/gateway.ts";
import type { Upstream } from "@claviger/shim/src/upstream.ts";

type Asked = Pick<UpstreamCall, "method" | "body">;

/** An upstream of one gateway, which serves. */
export type UpstreamWorld = {
  readonly upstream: Upstream;
  readonly url: string;
  /** A Status, which the gateway answers, and a call that it refuses for this reason. */
  readonly status: Asked;
  readonly refused: Asked & { readonly reason: Reason };
  /** From now on the gateway answers nothing, until `resume`. */
  pause(): void;
  resume(): void;
  /** Ends the gateway for good. */
  end(): Promise<void>;
  stop(): Promise<void>;
};

function hasReason(...reasons: readonly Reason[]) {
  return (error: unknown) => error instanceof KmsError && reasons.includes(error.reason);
}

/**
 * The contract of the Upstream port.
 * @param start makes an upstream for the suite or a test of it alone
 */
export function upstreamContract(name: string, start: () => Promise<UpstreamWorld>): void {
  suite(`${name} keeps the contract of an upstream`, () => {
    let world: UpstreamWorld;
    before(async () => {
      world = await start();
    });
    after(() => world.stop());
    const call = (asked: Asked, more: Partial<UpstreamCall> = {}) =>
      world.upstream.call({
        method: asked.method,
        body: asked.body,
        deadline: steadyNow() + 5000,
        hedge: false,
        ...more,
      });

    test("it knows its gateway, with which nothing is wrong", async () => {
      await call(world.status);
      assert.deepEqual(world.upstream.gateways(), [{ url: world.url, problem: undefined }]);
    });

    test("an answer is the caller's to zeroize, and what was asked is left as it was", async () => {
      const body = Buffer.from(world.status.body);
      const [first, second] = await Promise.all([call({ ...world.status, body }), call(world.status)]);
      assert.deepEqual(body, Buffer.from(world.status.body));
      assert.ok(first.body.length > 0);
      assert.deepEqual(first.body, second.body);
      first.body.fill(0);
      assert.notDeepEqual(first.body, second.body);
      assert.deepEqual((await call(world.status)).body, second.body);
      assert.ok(first.epoch !== undefined);
      assert.equal(first.staleForMs, undefined);
    });

    test("an answer is shown before it counts, and one that is not accepted is none", async () => {
      const shown: Answered[] = [];
      const { epoch } = await call(world.status, { accept: (answered) => void shown.push(answered) });
      assert.deepEqual(shown, [{ method: "status", epoch }]);
      const behind = new KmsError("gateway_behind");
      const accept = (answered: Answered): void => {
        shown.push(answered);
        throw behind;
      };
      await assert.rejects(call(world.status, { accept }), (error) => error === behind);
      // What the caller threw is not what a gateway said.
      assert.ok(shown.every(({ reason }) => reason === undefined));
    });

    test("a refusal is shown, and is the call's error", async () => {
      const shown: Answered[] = [];
      const { reason } = world.refused;
      await assert.rejects(call(world.refused, { accept: (answered) => void shown.push(answered) }), hasReason(reason));
      assert.deepEqual(
        shown.map((answered) => [answered.method, answered.reason]),
        [[world.refused.method, reason]],
      );
    });

    test("a caller who leaves is told at once; one who has left is not asked for", async () => {
      world.pause();
      const leaver = new AbortController();
      const left = call(world.status, { signal: leaver.signal });
      setImmediate(() => leaver.abort());
      const began = performance.now();
      await assert.rejects(left, hasReason("canceled"));
      await assert.rejects(call(world.status, { signal: leaver.signal }), hasReason("canceled"));
      await assert.rejects(
        call(world.status, { signal: AbortSignal.abort(new KmsError("gateway_draining")) }),
        hasReason("gateway_draining"),
      );
      assert.ok(performance.now() - began < 1000);
      world.resume();
      await call(world.status);
    });

    test("a gateway that says nothing is one that cannot be reached, to a Status; else the time is over", async () => {
      const shown: Answered[] = [];
      const accept = (answered: Answered): void => void shown.push(answered);
      world.pause();
      const soon = { deadline: steadyNow() + 100, accept };
      await Promise.all([
        assert.rejects(call(world.status, soon), hasReason("gateway_unavailable")),
        assert.rejects(call(world.refused, soon), hasReason("deadline_exceeded")),
      ]);
      assert.deepEqual(shown, [], "nobody said anything");
      world.resume();
      await call(world.status);
    });

    test("closed, it ends what is under way and what comes after", async () => {
      world.pause();
      const underWay = assert.rejects(call(world.status), KmsError);
      await new Promise(setImmediate);
      const began = performance.now();
      await world.upstream.close();
      await underWay;
      await assert.rejects(call(world.status), KmsError);
      assert.ok(performance.now() - began < 3000, "before the deadline");
      world.resume();
    });
  });

  test(`a gateway that is gone cannot be reached and has said nothing, with ${name}`, async () => {
    const gone = await start();
    const { upstream, status, refused } = gone;
    try {
      const shown: Answered[] = [];
      const accept = (answered: Answered): void => void shown.push(answered);
      await gone.end();
      for (const { method, body } of [status, refused])
        await assert.rejects(
          upstream.call({ method, body, deadline: steadyNow() + 500, hedge: false, accept }),
          hasReason("gateway_unavailable"),
        );
      assert.deepEqual(shown, []);
    } finally {
      await gone.stop();
    }
  });
}
