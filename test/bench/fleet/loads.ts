// What simulated kube-apiservers ask of their shims: Status all the time, Encrypts and Decrypts, and all
// that a restart asks at once.
import { randomBytes } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { KmsMethod } from "../../../shim/src/kms.ts";
import { type Load, startLoad, startPace } from "../../lab/load.ts";
import type { Recorder } from "./recorder.ts";
import type { SimulatedShim } from "./shim.ts";

/** kube-apiserver's own: the `timeout` of a KMS provider. */
const callMs = 3000;

export type Sealed = {
  readonly shim: SimulatedShim;
  readonly plaintext: Buffer;
  readonly ciphertext: Uint8Array;
  readonly keyId: string;
};

/** One call with three seconds, as the shim's socket passes it on. */
function ask(method: KmsMethod, message: Uint8Array): Promise<Uint8Array> {
  return method(Buffer.from(message), steadyNow() + callMs, AbortSignal.timeout(callMs));
}

/** One at the time of a call of this kind, with what it showed recorded. Resolves with whether it was good. */
export async function askStatus(shim: SimulatedShim, recorder: Recorder): Promise<boolean> {
  const { kms, identity, isInGrace } = shim;
  const run = async (): Promise<string> => {
    const { healthz, keyId } = fromBinary(v2.StatusResponseSchema, await ask(kms.status, new Uint8Array()));
    if (healthz !== "ok") throw new KmsError("gateway_unavailable", { cause: new Error(healthz) });
    return keyId;
  };
  const keyId = await recorder.measure("status", identity.index, run, isInGrace);
  if (keyId !== undefined) recorder.showed(identity.index, keyId);
  return keyId !== undefined && !isInGrace();
}

async function encrypt(shim: SimulatedShim, plaintext: Uint8Array, recorder: Recorder): Promise<Sealed | undefined> {
  const { kms, identity } = shim;
  const message = toBinary(v2.EncryptRequestSchema, create(v2.EncryptRequestSchema, { plaintext, uid: "fleet" }));
  const body = await recorder.measure("encrypt", identity.index, () => ask(kms.encrypt, message));
  if (body === undefined) return undefined;
  const { ciphertext, keyId } = fromBinary(v2.EncryptResponseSchema, body);
  return { shim, plaintext: Buffer.from(plaintext), ciphertext, keyId };
}

async function decrypt({ shim, plaintext, ciphertext, keyId }: Sealed, recorder: Recorder): Promise<boolean> {
  const { kms, identity } = shim;
  const message = toBinary(
    v2.DecryptRequestSchema,
    create(v2.DecryptRequestSchema, { ciphertext, keyId, uid: "fleet" }),
  );
  const run = async (): Promise<true> => {
    const opened = fromBinary(v2.DecryptResponseSchema, await ask(kms.decrypt, message)).plaintext;
    if (!plaintext.equals(opened)) throw new TypeError("a wrong plaintext");
    return true;
  };
  return (await recorder.measure("decrypt", identity.index, run)) === true;
}

/** Each shim in turn. */
function turns(shims: readonly SimulatedShim[]): () => SimulatedShim {
  let turn = 0;
  return () => {
    const shim = shims[turn++ % shims.length];
    if (shim === undefined) throw new TypeError("no shims");
    return shim;
  };
}

export function startStatuses(
  shims: readonly SimulatedShim[],
  perSecond: number,
  recorder: Recorder,
): Pick<Load, "stop"> {
  const next = turns(shims);
  // What is asked of a process that does not keep up is said, not piled up until it does nothing else.
  let underWay = 0;
  const most = Math.max(shims.length, perSecond * (callMs / 1000));
  return startPace(perSecond, async () => {
    const shim = next();
    if (underWay >= most) return recorder.leftOut("status", shim.identity.index);
    underWay += 1;
    await askStatus(shim, recorder);
    underWay -= 1;
    return undefined;
  });
}

/** Half Encrypts, half Decrypts of what was encrypted lately; the recorder has what became of them. */
export function startCalls(shims: readonly SimulatedShim[], perSecond: number, recorder: Recorder): Pick<Load, "stop"> {
  const next = turns(shims);
  return startLoad({
    perSecond,
    encrypt: async (plaintext) => {
      const sealed = await encrypt(next(), plaintext, recorder);
      if (sealed === undefined) throw new Error("recorded");
      return sealed;
    },
    decrypt: async (sealed) => ((await decrypt(sealed, recorder)) ? sealed.plaintext : Buffer.alloc(0)),
    reasonOf: () => "recorded",
  });
}

/** Seeds of one apiserver, as an earlier life of it has encrypted them, one after the other. */
export async function sealSeeds(shim: SimulatedShim, seeds: number, recorder: Recorder): Promise<readonly Sealed[]> {
  const sealed: Sealed[] = [];
  for (let tries = 10 * seeds; sealed.length < seeds && tries > 0; tries -= 1) {
    const one = await encrypt(shim, randomBytes(32), recorder);
    if (one !== undefined) sealed.push(one);
  }
  return sealed;
}

/**
 * One apiserver starts: Status, a seed of its own, then the caches fill, `copies` Decrypts of each seed at
 * once. Resolves with the milliseconds that it took.
 */
export async function restart(
  shim: SimulatedShim,
  seeds: readonly Sealed[],
  copies: number,
  recorder: Recorder,
): Promise<number> {
  const began = performance.now();
  await askStatus(shim, recorder);
  await encrypt(shim, randomBytes(32), recorder);
  const all = seeds.flatMap((seed) => Array.from({ length: copies }, () => ({ ...seed, shim })));
  await Promise.all(all.map((seed) => decrypt(seed, recorder)));
  return performance.now() - began;
}
