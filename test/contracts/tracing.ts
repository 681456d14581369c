// The contract of the Tracing port, for the adapter that does nothing and for OpenTelemetry.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Tracing } from "@claviger/proto/runtime/tracing.ts";

export type TracingWorld = { readonly tracing: Tracing; stop(): Promise<void> };

const kind = "server";
const parent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
const w3c = /^00-([0-9a-f]{32})-([0-9a-f]{16})-0[01]$/;

/**
 * The contract of the Tracing port.
 * @param traces false for the adapter that knows no traceparent
 */
export function tracingContract(
  name: string,
  start: () => Promise<TracingWorld>,
  { traces }: { readonly traces: boolean },
): void {
  suite(`${name} keeps the contract of tracing`, () => {
    let world: TracingWorld;
    before(async () => {
      world = await start();
    });
    after(() => world.stop());
    const span = <T>(work: () => Promise<T>, from?: string): Promise<T> =>
      world.tracing.span("a span", { kind, parent: from, attributes: { cluster: "prod", items: 3 } }, work);
    /** Trace and span where we are. */
    const here = async (): Promise<readonly (string | undefined)[]> => {
      await turn();
      const [, trace, own] = w3c.exec(world.tracing.traceparent() ?? "") ?? [];
      return [trace, own];
    };

    test("a span gives what its work gives, which runs once", async () => {
      let runs = 0;
      assert.equal(
        await span(() => {
          runs += 1;
          return Promise.resolve("value");
        }),
        "value",
      );
      assert.equal(runs, 1);
    });

    test("a rejection is passed on as it is", async () => {
      const failure = new Error("of the work");
      await assert.rejects(
        span(() => Promise.reject(failure)),
        (error) => error === failure,
      );
    });

    test("outside of a span there is nothing to send on, and none stays behind", async () => {
      assert.equal(world.tracing.traceparent(), undefined);
      await span(here);
      assert.equal(world.tracing.traceparent(), undefined);
    });

    test("a span continues the trace of its parent, and spans inside it that of theirs, however they mix", async () => {
      const [outer, inner, ...beside] = await Promise.all([
        span(here, parent),
        span(async () => [await here(), await span(here)] as const, parent),
        span(here),
        span(here),
      ]);
      const traceIds = [outer[0], ...inner.map(([trace]) => trace)];
      assert.deepEqual(traceIds, Array(3).fill(traces ? "a".repeat(32) : undefined));
      const spans = [...[outer, ...inner, ...beside].map(([, own]) => own), "b".repeat(16)];
      assert.equal(new Set(spans).size, traces ? 6 : 2, "each span has an id of its own");
      assert.equal(new Set([...beside.map(([trace]) => trace), "a".repeat(32)]).size, traces ? 3 : 2);
    });

    test("a parent that is none is left out", async () => {
      for (const bad of ["", "nonsense", `00-${"0".repeat(32)}-${"b".repeat(16)}-01`, `${parent}-more`]) {
        const [trace] = await span(here, bad);
        assert.equal(trace !== undefined, traces, bad);
        assert.ok(trace !== "0".repeat(32) && trace !== "a".repeat(32), bad);
      }
    });

    test("close resolves, also a second time, and work after it is done all the same", async () => {
      const before = performance.now();
      await world.tracing.close();
      await world.tracing.close();
      assert.ok(performance.now() - before < 3000);
      assert.equal(await span(() => Promise.resolve("late")), "late");
    });
  });
}
