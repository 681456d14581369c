// This checkout against an earlier commit, in the same run and in turn: `node test/bench/versus.ts
// [--base COMMIT] [--rounds N] [--seconds N] [--only WORDS]`. Both run from their bundles, with the flags of the
// shipped systemd unit, each with a gateway, an OpenBao and a Redis of its own. Nothing passes or
// fails here: the table has medians and ratios.
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { methods } from "@claviger/proto/wire/protocol.ts";
import { kmsClient } from "../lab/kms.ts";
import { type Lab, startLab } from "../lab/lab.ts";
import { readyLine } from "../lab/process-group.ts";
import { usageOf } from "../lab/usage.ts";
import { installBinaries } from "../parts/install.ts";
import type { LoadOptions, LoadResult } from "./grpc-load.ts";

const root = join(import.meta.dirname, "..", "..");
const shimFlags = ["--max-semi-space-size=1", "--max-old-space-size=48", "--v8-pool-size=0"];
const corpusSize = 4096;

const { values } = parseArgs({
  options: {
    base: { type: "string", default: "aa56adb" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "5" },
    // Rows whose name has these words.
    only: { type: "string", default: "" },
  },
});
const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];

type Row = { readonly name: string; readonly method: "status" | "encrypt" | "decrypt"; readonly concurrency: number };

const rows: readonly Row[] = [
  { name: "idle encrypt", method: "encrypt", concurrency: 1 },
  { name: "idle decrypt", method: "decrypt", concurrency: 1 },
  { name: "idle status", method: "status", concurrency: 1 },
  { name: "64 decrypts", method: "decrypt", concurrency: 64 },
  { name: "512 decrypts", method: "decrypt", concurrency: 512 },
  { name: "4,096 decrypts", method: "decrypt", concurrency: 4096 },
  { name: "64 encrypts", method: "encrypt", concurrency: 64 },
];

type Side = { readonly name: string; readonly lab: Lab; readonly bodies: Readonly<Record<Row["method"], string>> };

type Figures = LoadResult & { readonly shimCpuMs: number; readonly gatewayCpuMs: number; readonly shimRssMiB: number };

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Builds the bundles of a checkout. */
function build(checkout: string, out: string): string {
  execFileSync(process.execPath, [join(checkout, "infra", "build.ts"), "--outdir", out], { cwd: checkout });
  return out;
}

function messageOf(method: Row["method"], sealed: v2.EncryptResponse): Uint8Array {
  switch (method) {
    case "status":
      return new Uint8Array();
    case "encrypt":
      return toBinary(v2.EncryptRequestSchema, create(v2.EncryptRequestSchema, { plaintext: randomBytes(32) }));
    case "decrypt": {
      const { ciphertext, keyId } = sealed;
      return toBinary(v2.DecryptRequestSchema, create(v2.DecryptRequestSchema, { ciphertext, keyId, uid: "bench" }));
    }
  }
}

async function startSide(name: string, dist: string): Promise<Side> {
  const dir = mkdtempSync(join(tmpdir(), "versus-"));
  const node = process.execPath;
  const lab = await startLab({
    dir,
    redis: false,
    // 0.1.0 knows no such setting.
    ...(name !== "now" && { gatewayExtra: { integrity: undefined } }),
    programs: {
      gateway: [node, join(dist, "claviger-gateway.mjs")],
      shim: [node, ...shimFlags, join(dist, "claviger-shim.mjs")],
    },
  });
  const client = kmsClient(lab.shims[0]?.socket ?? "");
  const sealed: v2.EncryptResponse[] = [];
  while (sealed.length < corpusSize)
    sealed.push(...(await Promise.all(Array.from({ length: 64 }, () => client.encrypt(randomBytes(32))))));
  client.close();
  const write = (method: Row["method"]): string => {
    const file = join(dir, `${method}.json`);
    const texts = sealed.map((one) => Buffer.from(messageOf(method, one)).toString("base64"));
    writeFileSync(file, JSON.stringify(texts), { mode: 0o600 });
    return file;
  };
  return { name, lab, bodies: { status: write("status"), encrypt: write("encrypt"), decrypt: write("decrypt") } };
}

async function load(options: LoadOptions): Promise<LoadResult> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "grpc-load.ts"), JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const chunks: Buffer[] = [];
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString()) as LoadResult;
}

async function measure({ lab, bodies }: Side, { method, concurrency }: Row): Promise<Figures> {
  const [shim, gateway] = [lab.shims[0], lab.gateways[0]];
  if (shim === undefined || gateway === undefined) throw new TypeError("an empty lab");
  const before = [usageOf(shim.proc.pid), usageOf(gateway.proc.pid)] as const;
  const { socket } = shim;
  const result = await load({ socket, path: methods[method], bodies: bodies[method], concurrency, seconds });
  const after = [usageOf(shim.proc.pid), usageOf(gateway.proc.pid)] as const;
  if (!Number.isFinite(after[0].cpuMs)) {
    say("  the shim has ended, and is started again");
    const proc = await lab.processes.restart(shim.proc);
    await readyLine(proc);
    lab.shims[0] = { ...shim, proc };
  }
  return {
    ...result,
    shimCpuMs: (after[0].cpuMs - before[0].cpuMs) / result.calls,
    gatewayCpuMs: (after[1].cpuMs - before[1].cpuMs) / result.calls,
    shimRssMiB: after[0].rssMiB,
  };
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}

function lineOf(name: string, base: readonly Figures[], now: readonly Figures[]): string {
  const cell = (pick: (figures: Figures) => number, digits: number): string => {
    const [a, b] = [median(base.map(pick)), median(now.map(pick))];
    return `${a.toFixed(digits)} → ${b.toFixed(digits)} (${!(a > 0) || !(b > 0) ? "-" : (b / a).toFixed(2)})`;
  };
  const lost = (figures: readonly Figures[]): string =>
    `${((figures.reduce((sum, { failed }) => sum + failed, 0) / figures.reduce((sum, { calls }) => sum + calls, 0)) * 100).toFixed(2)} %`;
  const cells = [
    cell((one) => one.perSecond, 0),
    cell((one) => one.p50, 2),
    cell((one) => one.p99, 1),
    `${lost(base)} → ${lost(now)}`,
    cell((one) => one.shimCpuMs + one.gatewayCpuMs, 3),
    cell((one) => one.shimRssMiB, 0),
  ];
  return `| ${[name, ...cells].join(" | ")} |`;
}

const temporary = mkdtempSync(join(tmpdir(), "versus-base-"));
const checkout = join(temporary, "checkout");
const sides: Side[] = [];
try {
  await installBinaries();
  say(`building ${values.base} and this checkout ...`);
  execFileSync("git", ["worktree", "add", "--detach", "--quiet", checkout, values.base], { cwd: root });
  execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], { cwd: checkout });
  const bundles = [build(checkout, join(temporary, "base")), build(root, join(temporary, "now"))];
  for (const [i, dist] of bundles.entries()) sides.push(await startSide(i === 0 ? values.base : "now", dist));
  console.log(`| load | calls/s | p50 ms | p99 ms | lost | CPU ms a call, shim and gateway | shim RSS MiB |`);
  console.log("|---|---|---|---|---|---|---|");
  for (const row of rows.filter(({ name }) => name.includes(values.only))) {
    const figures: Figures[][] = sides.map(() => []);
    for (let round = 0; round < rounds; round++)
      for (const [i, side] of sides.entries()) {
        say(`  ${row.name}, ${side.name}, round ${round + 1} of ${rounds} ...`);
        figures[i]?.push(await measure(side, row));
      }
    console.log(lineOf(row.name, figures[0] ?? [], figures[1] ?? []));
  }
} finally {
  for (const { lab } of sides) {
    await lab.stop();
    rmSync(lab.dir, { recursive: true, force: true });
  }
  execFileSync("git", ["worktree", "remove", "--force", checkout], { cwd: root });
  rmSync(temporary, { recursive: true, force: true });
}
