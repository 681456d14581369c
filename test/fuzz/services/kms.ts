// A shim and a gateway that run, as they are shipped but for their logs, which say everything; and the honest calls
// that go through both.
import { join } from "node:path";
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { BatchRequestSchema } from "@claviger/proto/gen/claviger/relay_pb.ts";
import * as v1 from "@claviger/proto/gen/k8s/kms_v1beta1_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { kmsClient } from "../../lab/kms.ts";
import { type Lab, startLab } from "../../lab/lab.ts";
import { readUnit } from "../../lab/unit.ts";
import { canary } from "../target.ts";
import type { Running } from "./service.ts";

const root = join(import.meta.dirname, "..", "..", "..");
/** The limits that infra/ gives the two, MiB. */
const memory = { shim: 256, gateway: 512 } as const;
/** In the plaintexts of honest calls alone. */
const honestCanary = `honest-${canary}`;

/** The options that the shipped unit gives Node.js. */
function nodeOptions(): readonly string[] {
  return readUnit()
    .one("ExecStart")
    .split(" ")
    .filter((word) => word.startsWith("--") && word !== "--config");
}

export type Sealed = { readonly ciphertext: Uint8Array; readonly keyId: string };

/** The messages that a kube-apiserver, or a shim, would send; `good` is a ciphertext that can be decrypted. */
export function messagesOf(good: Sealed) {
  const plaintext = Buffer.from(canary);
  const encrypt = create(v2.EncryptRequestSchema, { plaintext, uid: "u" });
  const decrypt = create(v2.DecryptRequestSchema, { ...good, uid: "u" });
  const annotated = create(v2.DecryptRequestSchema, { ...decrypt, annotations: { "a.example": Buffer.from("1") } });
  const binary = {
    status: toBinary(v2.StatusRequestSchema, create(v2.StatusRequestSchema)),
    encrypt: toBinary(v2.EncryptRequestSchema, encrypt),
    decrypt: toBinary(v2.DecryptRequestSchema, decrypt),
    v1Version: toBinary(v1.VersionRequestSchema, create(v1.VersionRequestSchema, { version: "v1beta1" })),
    v1Encrypt: toBinary(
      v1.EncryptRequestSchema,
      create(v1.EncryptRequestSchema, { version: "v1beta1", plain: plaintext }),
    ),
    v1Decrypt: toBinary(
      v1.DecryptRequestSchema,
      create(v1.DecryptRequestSchema, { version: "v1beta1", cipher: good.ciphertext }),
    ),
  };
  const batch = (one: Uint8Array): Uint8Array =>
    toBinary(BatchRequestSchema, create(BatchRequestSchema, { requests: [one, one, Buffer.from("junk")] }));
  const batches = { encryptBatch: batch(binary.encrypt), decryptBatch: batch(binary.decrypt) };
  const text = {
    status: "{}",
    encrypt: toJsonString(v2.EncryptRequestSchema, encrypt),
    decrypt: toJsonString(v2.DecryptRequestSchema, decrypt),
  };
  return { binary, batches, text, annotated: toBinary(v2.DecryptRequestSchema, annotated) };
}

/** What both services have in common: the lab, and the honest calls through all of it. */
export async function startKms(
  dir: string,
): Promise<{ readonly lab: Lab; readonly good: Sealed; readonly common: Omit<Running, "send" | "inputs"> }> {
  const lab = await startLab({
    dir,
    backend: "embedded",
    redis: false,
    requestsPerSecond: 1_000_000,
    gatewayExtra: { log: { level: "debug" } },
    shimExtra: { log: { level: "debug" } },
    programs: {
      gateway: [process.execPath, "--max-semi-space-size=8", join(root, "gateway", "server", "src", "main.ts")],
      shim: [process.execPath, ...nodeOptions(), join(root, "shim", "src", "main.ts")],
    },
  });
  const [gateway, shim] = [lab.gateways[0], lab.shims[0]];
  if (gateway === undefined || shim === undefined) throw new TypeError("a lab without a gateway or a shim");
  const client = kmsClient(shim.socket);
  const plaintext = Buffer.from(honestCanary);
  const good = await client.encrypt(plaintext);
  const timed = async <T>(call: () => Promise<T>): Promise<readonly [number, T]> => {
    const began = performance.now();
    const value = await call();
    return [performance.now() - began, value];
  };
  return {
    lab,
    good,
    common: {
      watched: [
        { ...shim, mostMiB: memory.shim },
        { ...gateway, mostMiB: memory.gateway },
      ],
      secrets: () => [canary, honestCanary],
      // A record tells of the uid, which a hostile caller may take from its plaintext.
      audit: { file: gateway.audit, secrets: () => [honestCanary] },
      async honest() {
        const [status, { healthz }] = await timed(() => client.status());
        if (healthz !== "ok") throw new Error(`the status is ${healthz}`);
        const [encrypt, sealed] = await timed(() => client.encrypt(plaintext));
        const [decrypt, opened] = await timed(() => client.decrypt(sealed));
        if (!opened.equals(plaintext)) throw new Error("another plaintext comes back");
        return { status, encrypt, decrypt };
      },
      async stop() {
        client.close();
        await lab.stop();
      },
    },
  };
}
