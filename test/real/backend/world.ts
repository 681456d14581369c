// What the backend's tests on a real OpenBao share: a server of their own, a backend over it, and a
// pace of requests against it.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { BackendConfig, VaultConfig } from "@claviger/gateway-core/src/backend/config.ts";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import type { KeyRef, OpenBackend, Outcome } from "@claviger/gateway-core/src/backend/port.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { toKmsError } from "@claviger/proto/wire/errors.ts";
import { backendName, keyName, mountPath } from "@claviger/proto/wire/names.ts";
import { type OpenBao, setUpTransit, startOpenBao } from "../../lab/openbao.ts";
import { createProcessGroup } from "../../lab/process-group.ts";
import { silent } from "../../unit/gateway/fakes.ts";

export function refOf(key: string): KeyRef {
  return {
    backend: backendName.parse("main"),
    mount: mountPath.parse("transit"),
    key: keyName.parse(key),
  };
}
export const aad = Buffer.from("cluster a");
export function soon(ms = 10_000): AbortSignal {
  return AbortSignal.timeout(ms);
}

export function valueOf<T>(outcome: Outcome<T> | undefined): T {
  if (outcome === undefined) throw new Error("no outcome");
  if (!outcome.ok) throw outcome.error;
  return outcome.value;
}

export type World = {
  readonly dir: string;
  readonly bao: OpenBao;
  /** AppRole credentials with the least policy. */
  readonly approle: VaultConfig["auth"];
  /** Opens a backend over it; closed with the world. */
  open(auth: VaultConfig["auth"], change?: Partial<VaultConfig>, log?: Log): Promise<OpenBackend>;
  stop(): Promise<void>;
};

/** An OpenBao with the keys `one` and `two`. */
export async function startWorld(): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const processes = createProcessGroup(dir);
  const opened: OpenBackend[] = [];
  const bao = await startOpenBao(processes, dir);
  const files = (await setUpTransit(bao, ["one", "two"], ["gw"], dir)).get("gw");
  if (files === undefined) throw new Error("no credentials");
  return {
    dir,
    bao,
    approle: { kind: "approle", mount: mountPath.parse("approle"), wrapped: false, ...files },
    async open(auth, change = {}, log = silent) {
      const config: BackendConfig = { kind: "vault", addresses: [bao.addr], auth, ...change };
      const backend = await openBackend({ name: "main", config, log });
      opened.push(backend);
      return backend;
    },
    async stop() {
      await Promise.all(opened.map((backend) => backend.close()));
      await processes.stopAll();
      await rm(dir, { recursive: true });
    },
  };
}

/** One encrypt and decrypt. @throws KmsError */
export async function roundTrip(backend: OpenBackend, key = refOf("one"), ms = 3000): Promise<void> {
  const plaintext = randomBytes(32);
  const [wrapped] = await backend.wrap(key, [{ plaintext, associatedData: aad, version: 1 }], soon(ms));
  const [opened] = await backend.unwrap(key, [{ ...valueOf(wrapped), associatedData: aad }], soon(ms));
  if (!plaintext.equals(valueOf(opened).plaintext)) throw new Error("a wrong answer");
}

/** Requests at a steady pace until `ms` are over; the reasons of those that failed. */
export async function keepAsking(
  backend: OpenBackend,
  ms: number,
  everyMs: number,
): Promise<{ asked: number; failed: string[] }> {
  const failed: string[] = [];
  const all: Promise<void>[] = [];
  const end = Date.now() + ms;
  while (Date.now() < end) {
    all.push(roundTrip(backend).catch((error: unknown) => void failed.push(toKmsError(error).reason)));
    await sleep(everyMs);
  }
  await Promise.all(all);
  return { asked: all.length, failed };
}
