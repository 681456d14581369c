// A world whose calls are those of kube-apiserver, through a real shim.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { reasons } from "@claviger/proto/wire/errors.ts";
import { kmsClient, type KmsClient } from "../../lab/kms.ts";
import { type Lab, type LabOptions, startLab } from "../../lab/lab.ts";
import { type LabProcess, until } from "../../lab/process-group.ts";
import { grace, type Outcomes, type World } from "./cell.ts";
import { type Program, readyzOf } from "./observe.ts";

export type Restart = {
  /** Another command line, made of the one that it was started with first. */
  readonly argv?: (argv: readonly string[]) => readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Done while it does not run. */
  readonly meanwhile?: () => void;
};

export type KmsWorld = World & {
  readonly lab: LabParts;
  readonly client: KmsClient;
  /** Ends the first gateway and starts it again. */
  restartGateway(how?: Restart): Promise<void>;
};

/** The reason of the error table whose message this is; else the error's own words. */
function reasonOf(error: unknown): string {
  const { code, details = String(error) } = error as { readonly code?: number; readonly details?: string };
  const found = Object.entries(reasons).find(([, { message }]) => details === message);
  return found?.[0] ?? `${code} ${details}`;
}

/** @param close ends what else was started for it, after the lab */
export async function startKmsWorld(
  options: Omit<LabOptions, "dir"> | ((dir: string) => Omit<LabOptions, "dir">),
  close: () => Promise<unknown> = async () => {},
): Promise<KmsWorld> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  return await kmsWorldOf(await startLab({ dir, ...(typeof options === "function" ? options(dir) : options) }), close);
}

/** What a world needs of a lab. */
export type LabParts = Pick<
  Lab,
  "dir" | "registry" | "processes" | "pki" | "vault" | "redis" | "gateways" | "shims" | "stop"
>;

/** A world of parts that run already; ends them and removes their folder. */
export async function kmsWorldOf(lab: LabParts, close: () => Promise<unknown> = async () => {}): Promise<KmsWorld> {
  const shim = lab.shims[0];
  assert.ok(shim !== undefined);
  const client = kmsClient(shim.socket);
  const procs = lab.gateways.map(({ proc }) => proc);
  const procOf = (i: number): LabProcess => procs[i] ?? shim.proc;
  const shimProgram: Program = { name: "shim", proc: () => shim.proc, metrics: shim.metrics };
  const programs: readonly Program[] = [
    ...lab.gateways.map(({ metrics }, i) => ({ name: "gateway", proc: () => procOf(i), metrics })),
    shimProgram,
  ];
  const plaintext = randomBytes(32);
  const sealed = await client.encrypt(plaintext);
  /** What was encrypted in the last cell, each under a plaintext of its own. */
  let written: { readonly plaintext: Buffer; readonly sealed: Awaited<ReturnType<KmsClient["encrypt"]>> }[] = [];

  const status = async (): Promise<string> => {
    const { healthz } = await client.status();
    if (healthz !== "ok") return `"${healthz}"`;
    return (await readyzOf(shimProgram))["shim phase"] === "0" ? "ok" : grace;
  };
  const encrypt = async (): Promise<string> => {
    const own = randomBytes(32);
    written.push({ plaintext: own, sealed: await client.encrypt(own) });
    return "ok";
  };
  const decrypt = async (): Promise<string> =>
    (await client.decrypt(sealed)).equals(plaintext) ? "ok" : "a wrong plaintext";
  return {
    lab,
    client,
    programs,
    async restartGateway({ argv, env, meanwhile }: Restart = {}) {
      const before = procOf(0);
      await lab.processes.stop(before);
      meanwhile?.();
      const first = lab.gateways[0]?.proc.argv ?? [];
      procs[0] = lab.processes.start(before.name, argv?.(first) ?? first, env);
      await until("the gateway to serve", procs[0], () =>
        fetch(String(lab.gateways[0]?.metrics).replace("/metrics", "/readyz")).then(
          ({ ok }) => (ok ? true : undefined),
          () => undefined,
        ),
      );
    },
    async round(): Promise<Outcomes> {
      const [Status, Encrypt, Decrypt] = await Promise.all(
        [status(), encrypt(), decrypt()].map((call) => call.catch(reasonOf)),
      );
      return { Status: Status ?? "", Encrypt: Encrypt ?? "", Decrypt: Decrypt ?? "" };
    },
    async verify() {
      for (const one of written) assert.deepEqual(await client.decrypt(one.sealed), one.plaintext);
      written = [];
    },
    async stop() {
      client.close();
      await lab.stop();
      await close();
      await rm(lab.dir, { recursive: true, force: true });
    },
  };
}
