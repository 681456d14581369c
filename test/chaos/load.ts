// The steady load, and what became of each call: KMS calls through every shim with kube-apiserver's
// deadline, Secrets through the kube-apiserver, and each answer compared with what it must be.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { kmsClient, type KmsClient } from "../lab/kms.ts";
import { startPace } from "../lab/load.ts";
import { createKeyIdOrder, type KeyIdOrder } from "./key-ids.ts";
import type { Site } from "./site.ts";

/** What users of Kubernetes have one of each: the socket of a node, and the API. */
export type Stream = "shim-1" | "shim-2" | "shim-3" | "secrets";
export const streams: readonly Stream[] = ["shim-1", "shim-2", "shim-3", "secrets"];

/** What is asked. */
export type Ask = "status" | "encrypt" | "decrypt" | "write" | "read";

export type Call = {
  readonly stream: Stream;
  readonly ask: Ask;
  readonly result: "ok" | "failed" | "wrong";
  /** Why it failed, or what is wrong. */
  readonly reason: string;
  readonly ms: number;
};

export type Load = {
  /** The calls that have ended since it was called last. */
  take(): readonly Call[];
  /** Calls until everything of a stream has been answered well. @returns how long that took, milliseconds */
  firstGood(stream: Stream): Promise<number>;
  /** The key_id that every shim shows now; undefined while they differ. */
  keyId(): string | undefined;
  /** Everything that was given out and not been looked at before, or all. @returns how much of it opens never more */
  lost(which: "new" | "all"): Promise<number>;
  stop(): Promise<void>;
};

/** Of each stream, in a second; a storm is of so many Decrypts at one shim at the same time. */
export const perSecond = { shim: 30, secrets: 6, storms: 0.5 } as const;
export const stormSize = 64;
const secretDeadlineMs = 10_000;
const recoveryMs = 60_000;
const tries = 5;

class Wrong extends Error {
  override readonly name = "Wrong";
}

function reasonOf(error: unknown): string {
  const { code, details, message } = error as { code?: unknown; details?: string; message?: string };
  return details === undefined ? String(message) : `gRPC ${String(code)} ${details.split(",")[0] ?? ""}`;
}

function compare(found: Buffer, value: Buffer, what: string): void {
  if (!found.equals(value)) throw new Wrong(`${what} gives something else than was put in`);
}

/** Rejects after a while; what is under way goes on unheeded. */
async function bounded<T>(promise: Promise<T>): Promise<T> {
  const timer = new AbortController();
  try {
    return await Promise.race([
      promise,
      sleep(secretDeadlineMs, undefined, { signal: timer.signal }).then(() => {
        throw new Error(`no answer within ${secretDeadlineMs / 1000} s`);
      }),
    ]);
  } finally {
    timer.abort();
  }
}

function pick<T>(items: readonly T[]): T | undefined {
  return items[Math.floor(Math.random() * items.length)];
}

type Thing = { readonly open: (by?: Shim) => Promise<Buffer>; readonly value: Buffer };
type Shim = { readonly stream: Stream; readonly client: KmsClient; readonly keyIds: KeyIdOrder };

/** Starts it. */
export function startLoad({ shims: parts, api }: Site): Load {
  const shims: readonly Shim[] = parts.map(({ socket }, n) => ({
    stream: `shim-${n + 1}` as Stream,
    client: kmsClient(socket),
    keyIds: createKeyIdOrder(),
  }));
  const sealed: Thing[] = [];
  const secrets: Thing[] = [];
  const looked = { sealed: 0, secrets: 0 };
  let calls: Call[] = [];
  let written = 0;

  const count = async (stream: Stream, ask: Ask, call: () => Promise<void>): Promise<void> => {
    const began = performance.now();
    let result: Call["result"] = "ok";
    let reason = "";
    try {
      await call();
    } catch (error) {
      result = error instanceof Wrong ? "wrong" : "failed";
      reason = reasonOf(error);
    }
    calls.push({ stream, ask, result, reason, ms: performance.now() - began });
    if (result === "failed") throw new Error(reason);
  };
  const inOrder = ({ keyIds }: Shim, since: number, keyId: string): void => {
    if (!keyIds.take(keyId, since)) throw new Wrong(`key_id went back to ${keyId}`);
  };

  const status = async (shim: Shim): Promise<void> => {
    const since = shim.keyIds.now();
    const { healthz, keyId } = await shim.client.status();
    if (healthz !== "ok") throw new Error(`healthz: ${healthz}`);
    inOrder(shim, since, keyId);
  };
  const encrypt = async (shim: Shim): Promise<void> => {
    const value = randomBytes(32);
    const since = shim.keyIds.now();
    const one = await shim.client.encrypt(value);
    // Which shim decrypts differs from one call to the next, as with apiservers on one etcd.
    sealed.push({ value, open: async (by = pick(shims) ?? shim) => await by.client.decrypt(one) });
    inOrder(shim, since, one.keyId);
  };
  const decrypt = async (shim: Shim): Promise<void> => {
    const known = pick(sealed);
    if (known === undefined) return await encrypt(shim);
    compare(await known.open(shim), known.value, "a Decrypt");
  };
  const write = async (): Promise<void> => {
    const [name, value] = [`chaos-${written++}`, randomBytes(32)];
    await bounded(api.createSecret(name, value));
    secrets.push({ value, open: async () => await bounded(api.readSecret(name)) });
  };
  const read = async (): Promise<void> => {
    const known = pick(secrets);
    if (known === undefined) return await write();
    compare(await known.open(), known.value, "a Secret");
  };

  /** Everything that a stream can be asked. */
  const asksOf = (stream: Stream): readonly (readonly [Ask, () => Promise<void>])[] => {
    const shim = shims.find((one) => one.stream === stream);
    if (shim === undefined)
      return [
        ["write", write],
        ["read", read],
      ];
    return [
      ["status", () => status(shim)],
      ["encrypt", () => encrypt(shim)],
      ["decrypt", () => decrypt(shim)],
    ];
  };
  const quietly = (call: Promise<void>): Promise<void> => call.catch(() => {});
  /** Every so-manieth call of a stream is which one of its asks. */
  const ask = (stream: Stream, which: number): Promise<void> => {
    const [name, call] = asksOf(stream)[which] ?? [];
    return name === undefined || call === undefined ? Promise.resolve() : quietly(count(stream, name, call));
  };
  const paces = [
    ...shims.map(({ stream }) => startPace(perSecond.shim, (n) => ask(stream, n % 10 === 0 ? 0 : n % 10 < 4 ? 1 : 2))),
    startPace(perSecond.secrets, (n) => ask("secrets", n % 3 === 0 ? 0 : 1)),
    // As from an apiserver that has just started.
    startPace(perSecond.storms, async (n) => {
      const stream = shims[n % shims.length]?.stream ?? "shim-1";
      await Promise.all(Array.from({ length: stormSize }, () => ask(stream, 2)));
    }),
  ];

  const isLost = async ({ open, value }: Thing, stream: Stream): Promise<boolean> => {
    for (let n = 0; n < tries; n++) {
      const isOpen = await open().then(
        (found) => {
          if (!found.equals(value)) calls.push({ stream, ask: "read", result: "wrong", reason: "at the end", ms: 0 });
          return true;
        },
        () => false,
      );
      if (isOpen) return false;
      await sleep(500);
    }
    return true;
  };
  const countLost = async (things: readonly Thing[], stream: Stream): Promise<number> => {
    let lost = 0;
    for (let at = 0; at < things.length; at += 16)
      lost += (await Promise.all(things.slice(at, at + 16).map(async (thing) => await isLost(thing, stream)))).filter(
        Boolean,
      ).length;
    return lost;
  };

  return {
    take() {
      const taken = calls;
      calls = [];
      return taken;
    },
    async firstGood(stream) {
      const began = performance.now();
      await Promise.all(
        asksOf(stream).map(async ([name, call]) => {
          for (;;) {
            // What fails here failed in the load as well, and is counted there.
            const isGood = await count(stream, name, call).then(
              () => true,
              () => false,
            );
            if (isGood) return;
            if (performance.now() - began > recoveryMs) throw new Error(`${stream} does not come back`);
            await sleep(50);
          }
        }),
      );
      return performance.now() - began;
    },
    keyId() {
      const [first, ...others] = shims.map(({ keyIds }) => keyIds.latest());
      return others.every((id) => id === first) ? first : undefined;
    },
    async lost(which) {
      const from = which === "new" ? { ...looked } : { sealed: 0, secrets: 0 };
      Object.assign(looked, { sealed: sealed.length, secrets: secrets.length });
      return (
        (await countLost(sealed.slice(from.sealed, looked.sealed), "shim-1")) +
        (await countLost(secrets.slice(from.secrets, looked.secrets), "secrets"))
      );
    },
    async stop() {
      await Promise.all(paces.map((pace) => pace.stop()));
      for (const { client } of shims) client.close();
    },
  };
}
