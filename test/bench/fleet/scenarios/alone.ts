// A data plane alone: Redis and the collector of traces are off, and nobody issues certificates. Before
// that, with all of them, as long or ten minutes. Do Decrypts fail, and are they slower? (`--seconds 3600`
// for an hour alone.)
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { percentileOf, shown, tableOf } from "../figures.ts";
import type { Taken } from "../protocol.ts";
import { connect, costTable, failuresOf, latenessOf, rest, say, type Settings, withFleet } from "../run.ts";

export const defaults = { clusters: 10, nodes: 3, seconds: 120, statuses: 30, calls: 100, attach: "both" } as const;

const settleSeconds = 5;
/** With all parts no longer than this. */
const mostBefore = 600;

/** Takes traces and forgets them. */
async function startCollector() {
  let taken = 0;
  const server = createServer((request, response) => {
    taken += 1;
    request.resume().once("end", () => response.writeHead(200, { "content-type": "application/x-protobuf" }).end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`,
    taken: () => taken,
    stop(): void {
      server.closeAllConnections();
      server.close();
    },
  };
}

type Phase = { readonly name: string; readonly taken: Taken };

function p99Of({ samples }: Taken, kind: string): number {
  const took = samples.filter((sample) => sample.kind === kind).map((sample) => sample.took);
  return percentileOf(took, 0.99);
}

function rowsOf(phases: readonly Phase[]): readonly (readonly string[])[] {
  return phases.flatMap(({ name, taken }) =>
    (["status", "encrypt", "decrypt"] as const).map((kind) => {
      const took = taken.samples.filter((sample) => sample.kind === kind).map((sample) => sample.took);
      const failures = taken.failures.filter((failure) => failure.kind === kind);
      const times = [0.5, 0.99, 1].map((share) => shown(percentileOf(took, share), 1));
      return [name, kind, shown(took.length), times.join(" / "), failuresOf(failures)];
    }),
  );
}

export async function run(settings: Settings): Promise<void> {
  const collector = await startCollector();
  const tracing = { endpoint: collector.endpoint, ratio: 0.1, delay: "1s" };
  try {
    await withFleet({ ...settings, extra: { tracing } }, async (fleet) => {
      const { world, simulators, meter, identities } = fleet;
      await connect(fleet, identities);
      await simulators.statuses(settings.statuses);
      await simulators.calls(settings.calls);
      const measure = async (name: string, seconds: number): Promise<Phase> => {
        say(`${seconds} s ${name}`);
        await rest(Math.min(settleSeconds, seconds));
        await simulators.take();
        await meter.take();
        await rest(seconds);
        const phase = { name, taken: await simulators.take() };
        console.log(`\n${name}\n\n${costTable(await meter.take())}\n\n${latenessOf(phase.taken)}`);
        return phase;
      };
      const quiet = await measure("with all parts", Math.min(settings.seconds, mostBefore));
      console.log(`\nThe collector took ${shown(collector.taken())} exports meanwhile.`);
      collector.stop();
      await world.processes.stop(world.redis.proc());
      const alone = await measure("alone", settings.seconds);
      await simulators.calls(0);
      await simulators.statuses(0);
      console.log(`\n## Redis and the collector off, and no issuer, for ${settings.seconds} s\n`);
      console.log(tableOf(["while", "call", "good", "p50 / p99 / longest ms", "failed"], rowsOf([quiet, alone])));
      const ratio = p99Of(alone.taken, "decrypt") / p99Of(quiet.taken, "decrypt");
      const failed = alone.taken.failures.filter(({ kind }) => kind === "decrypt");
      const rows = [
        ["failed Decrypts", "0", failuresOf(failed)],
        ["p99 of Decrypts, times the one with all parts", "≤ 1.1", shown(ratio, 2)],
      ];
      console.log(`\n${tableOf(["figure", "goal", "measured"], rows)}`);
    });
  } finally {
    collector.stop();
  }
}
