// A process that calls a shim again and again and measures: whoever floods a gateway beside it must not
// be what makes its calls late.
import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { kmsClient } from "./kms.ts";

export type Measured = {
  readonly times: readonly number[];
  readonly failures: readonly string[];
  readonly healthz: string;
};

const mark = "--call";

/** Calls until `stop`, one call after the other with 10 ms between them. */
export async function startCaller(socket: string): Promise<{ stop(): Promise<Measured> }> {
  const child = fork(import.meta.filename, [mark, socket]);
  await once(child, "message", { signal: AbortSignal.timeout(30_000) });
  return {
    async stop() {
      child.send("stop");
      const [measured] = (await once(child, "message", { signal: AbortSignal.timeout(30_000) })) as [Measured];
      child.disconnect();
      return measured;
    },
  };
}

async function run(socket: string): Promise<Measured> {
  const client = kmsClient(socket);
  const times: number[] = [];
  const failures: string[] = [];
  const sealed = await client.encrypt(Buffer.alloc(32, 7));
  let isOver = false;
  process.once("message", () => (isOver = true));
  process.send?.("ready");
  for (let i = 0; !isOver; i++) {
    const began = performance.now();
    const ask = [() => client.status(), () => client.encrypt(Buffer.alloc(32, i)), () => client.decrypt(sealed)];
    await ask[i % 3]?.().catch((error: unknown) => failures.push(String(error)));
    times.push(performance.now() - began);
    await sleep(10);
  }
  const { healthz } = await client.status();
  client.close();
  return { times, failures, healthz };
}

const [first, socket] = process.argv.slice(2);
if (first === mark && socket !== undefined) process.send?.(await run(socket));
