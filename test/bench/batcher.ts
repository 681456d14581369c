// What the queues of gateway and shim cost for each Decrypt, beside those of an earlier release:
// `node test/bench/batcher.ts [--base COMMIT] [--rounds N]`. Backend and upstream are in memory and
// answer in the next turn of the event loop, so that nothing but the queues is measured. Prints the
// medians in microseconds of CPU for a Decrypt, and new divided by earlier.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createDispatcher } from "@claviger/gateway-server/src/backend/dispatch.ts";
import { BatchRequestSchema, BatchResponseSchema, BatchResultSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";
import { createRelay } from "@claviger/shim/src/relay.ts";
import type { Upstream } from "@claviger/shim/src/upstream.ts";
import { createFakeBackend, ref } from "../unit/gateway/fakes.ts";
import { createFakeUpstream, noMetrics, reply } from "../unit/shim/fakes.ts";
import { medianOf } from "./calls.ts";

const root = join(import.meta.dirname, "..", "..");
const { values } = parseArgs({
  options: { base: { type: "string", default: "aa56adb" }, rounds: { type: "string", default: "7" } },
});
const total = 40_000;

/** As 0.1.0 had it. */
type CreateDecrypts = (
  upstream: Upstream,
  metrics: typeof noMetrics,
) => {
  decrypt(request: Buffer, identity: readonly Uint8Array[], deadline: number, signal: AbortSignal): Promise<unknown>;
};
type Queues = { readonly createDispatcher: typeof createDispatcher; readonly createDecrypts: CreateDecrypts };

const createDecrypts: CreateDecrypts = (upstream, metrics) => {
  const relay = createRelay("decrypt", { upstream, metrics, epochs: { epoch: () => undefined, accept: () => {} } });
  return {
    decrypt: (request, identity, deadline, signal) => relay.call(request, deadline, signal, identity),
  };
};

/** The sources of a release, with the installed packages and its own `@claviger/proto`. */
async function load(base: string, dir: string): Promise<Queues> {
  const archive = execFileSync("git", ["archive", base, "gateway", "proto", "shim"], {
    cwd: root,
    maxBuffer: 2 ** 28,
  });
  execFileSync("tar", ["x", "-C", dir], { input: archive });
  mkdirSync(join(dir, "node_modules", "@claviger"), { recursive: true });
  for (const name of readdirSync(join(root, "node_modules")))
    if (name !== "@claviger") symlinkSync(join(root, "node_modules", name), join(dir, "node_modules", name));
  symlinkSync(join(dir, "proto"), join(dir, "node_modules", "@claviger", "proto"));
  const [dispatch, decrypts] = await Promise.all([
    import(join(dir, "gateway/src/backend/dispatch.ts")) as Promise<Pick<Queues, "createDispatcher">>,
    import(join(dir, "shim/src/decrypts.ts")) as Promise<Pick<Queues, "createDecrypts">>,
  ]);
  return { createDispatcher: dispatch.createDispatcher, createDecrypts: decrypts.createDecrypts };
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** So many at once until all are done; microseconds of CPU for one. */
async function storm(atOnce: number, run: (n: number) => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < total) await run(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / total;
}

async function gatewayStorm(queues: Queues, atOnce: number): Promise<number> {
  const dispatcher = queues.createDispatcher({
    backend: {
      ...createFakeBackend(),
      async unwrap(_key, items) {
        await turn();
        return items.map(() => ({ ok: true, value: { plaintext: Buffer.alloc(32) } }));
      },
    },
  });
  const clusters = ["a", "b", "c", "d"].map((name) => clusterName.parse(name));
  const item = { ciphertext: randomBytes(60), associatedData: randomBytes(100), version: 1 };
  return await storm(atOnce, async (n) => {
    const cluster = clusters[n % clusters.length];
    if (cluster !== undefined) await dispatcher.unwrap(cluster, ref, item, new AbortController().signal);
  });
}

async function shimStorm(queues: Queues, atOnce: number): Promise<number> {
  const response = randomBytes(40);
  const upstream = createFakeUpstream(async ({ method, body }) => {
    await turn();
    upstream.calls.length = 0;
    if (method === "decrypt") return reply(response);
    const results = fromBinary(BatchRequestSchema, body).requests.map(() =>
      create(BatchResultSchema, { outcome: { case: "response", value: response } }),
    );
    return reply(toBinary(BatchResponseSchema, create(BatchResponseSchema, { results })));
  });
  const decrypts = queues.createDecrypts(upstream, noMetrics);
  return await storm(atOnce, async (n) => {
    const request = Buffer.alloc(220, String(n));
    await decrypts.decrypt(request, [request], Date.now() + 10_000, new AbortController().signal);
  });
}

const dir = mkdtempSync(join(tmpdir(), "claviger-"));
try {
  const sides = { now: { createDispatcher, createDecrypts }, earlier: await load(values.base, dir) };
  for (const [name, measure] of Object.entries({ gateway: gatewayStorm, shim: shimStorm }))
    for (const atOnce of [1, 64, 512, 4096]) {
      const figures = { now: [] as number[], earlier: [] as number[] };
      for (let round = 0; round < Number(values.rounds); round += 1)
        for (const side of round % 2 === 0 ? (["now", "earlier"] as const) : (["earlier", "now"] as const))
          figures[side].push(await measure(sides[side], atOnce));
      const [now, earlier] = [medianOf(figures.now), medianOf(figures.earlier)];
      console.log(
        `${name}, ${atOnce} at once: ${now.toFixed(1)} us, ${values.base} ${earlier.toFixed(1)} us, ratio ${(now / earlier).toFixed(2)}`,
      );
    }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
