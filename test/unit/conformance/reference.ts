// A deliberately simple KMS plugin with its key in memory, and ways to break it: what the
// conformance kit is tested on. Never for use.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { lstatSync, rmSync } from "node:fs";
import { connect } from "node:net";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import * as v1 from "@claviger/proto/gen/k8s/kms_v1beta1_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, type status } from "@grpc/grpc-js";

/** What is wrong with a plugin. */
export type Mutation =
  | "none"
  | "wrong key_id in Encrypt"
  | "empty ciphertext"
  | "no tamper check"
  | "key_id not bound"
  | "flapping key_id"
  | "key_id comes back"
  | "deterministic"
  | "long ciphertext"
  | "healthz OK"
  | "secret in healthz"
  | "slow Status"
  | "wrong v1 version"
  | "unknown method served"
  | "other error code"
  | "takes any path"
  | "open mode"
  | "dies at SIGTERM"
  | "waits for its backend"
  | "injectable log";

class Failure extends Error {
  readonly code: status;
  readonly details: string;
  constructor(code: status, details: string) {
    super(details);
    this.details = details;
    this.code = code;
  }
}
function failure(code: status, details: string): Failure {
  return new Failure(code, details);
}

/** State shared by the nodes of one "cluster". */
export type Kek = { keys: Buffer[]; calls: number; isDown: boolean; log: string; flips: number };
export function createKek(): Kek {
  return { keys: [randomBytes(32)], calls: 0, isDown: false, log: "", flips: 0 };
}

function seal(key: Buffer, plaintext: Uint8Array, aad: string, nonce: Buffer): Buffer {
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(aad));
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function unseal(key: Buffer, bytes: Uint8Array, aad: string, isChecked: boolean): Buffer {
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, 12))
    .setAAD(Buffer.from(aad))
    .setAuthTag(bytes.subarray(-16));
  const opened = decipher.update(bytes.subarray(12, -16));
  if (isChecked) decipher.final();
  return opened;
}

function idOf(version: number, mutation: Mutation): string {
  return mutation === "key_id comes back" ? `k${version % 2}` : `k${version}`;
}

/** The methods, without a transport. */
function behaviour(kek: Kek, mutation: Mutation) {
  const current = (): number => kek.keys.length - 1;
  const backend = (): void => {
    kek.calls += 1;
    if (kek.isDown) throw failure(14, "backend away");
  };
  return {
    async status(): Promise<MessageInitShape<typeof v2.StatusResponseSchema>> {
      if (mutation === "slow Status") await new Promise((resolve) => setTimeout(resolve, 80));
      kek.flips += 1;
      const healthz = kek.isDown
        ? mutation === "secret in healthz"
          ? "https://user:hvs.abc@vault"
          : "backend away"
        : mutation === "healthz OK"
          ? "OK"
          : "ok";
      return {
        version: "v2",
        healthz,
        keyId: mutation === "flapping key_id" ? `k${kek.flips % 2}` : idOf(current(), mutation),
      };
    },
    encrypt({ plaintext, uid }: v2.EncryptRequest): MessageInitShape<typeof v2.EncryptResponseSchema> {
      backend();
      kek.log += mutation === "injectable log" ? `${uid}\n` : `${JSON.stringify(uid.slice(0, 64))}\n`;
      if (plaintext.length < 1 || plaintext.length > 128) {
        if (mutation !== "long ciphertext") throw failure(3, "size");
      }
      const version = current();
      const keyId = mutation === "wrong key_id in Encrypt" ? "another" : idOf(version, mutation);
      const nonce = mutation === "deterministic" ? Buffer.alloc(12) : randomBytes(12);
      const bytes = seal(
        kek.keys[version] ?? Buffer.alloc(32),
        plaintext,
        mutation === "key_id not bound" ? "" : idOf(version, mutation),
        nonce,
      );
      const ciphertext =
        mutation === "empty ciphertext" ? new Uint8Array() : Buffer.concat([Buffer.from([version]), bytes]);
      return { ciphertext, keyId };
    },
    decrypt({ ciphertext, keyId, annotations }: v2.DecryptRequest): MessageInitShape<typeof v2.DecryptResponseSchema> {
      if (ciphertext.length < 29 || ciphertext.length > 1024 || keyId === "" || Object.keys(annotations).length > 0)
        throw failure(mutation === "other error code" ? 13 : 3, "size");
      backend();
      const isChecked = mutation !== "no tamper check";
      const key = kek.keys[ciphertext[0] ?? 0];
      if (key === undefined) throw failure(3, "ciphertext");
      try {
        return {
          plaintext: unseal(key, ciphertext.subarray(1), mutation === "key_id not bound" ? "" : keyId, isChecked),
        };
      } catch {
        throw failure(3, "ciphertext");
      }
    },
  };
}

/** Serves on a path. Resolves when it listens. */
export async function startReference(path: string, kek: Kek, mutation: Mutation): Promise<Server> {
  const own = behaviour(kek, mutation);
  const server = new Server({ "grpc.max_receive_message_length": 2 * 1024 * 1024 });
  const method = <I extends DescMessage, O extends DescMessage>(
    path_: string,
    input: I,
    output: O,
    run: (message: MessageShape<I>) => MessageInitShape<O> | Promise<MessageInitShape<O>>,
  ) => ({
    definition: {
      path: path_,
      requestStream: false as const,
      responseStream: false as const,
      requestSerialize: (bytes: Buffer) => bytes,
      requestDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
    },
    handle: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>): void => {
      const answer = async (): Promise<void> => {
        let message: MessageShape<I>;
        try {
          message = fromBinary(input, call.request);
        } catch {
          callback(failure(3, "junk"));
          return;
        }
        try {
          callback(null, Buffer.from(toBinary(output, create(output, await run(message)))));
        } catch (error) {
          callback(error as Failure);
        }
      };
      void answer();
    },
  });
  const identical = new Map<string, MessageInitShape<typeof v2.DecryptResponseSchema>>();
  const methods = {
    Status: method("/v2.KeyManagementService/Status", v2.StatusRequestSchema, v2.StatusResponseSchema, () =>
      own.status(),
    ),
    Encrypt: method("/v2.KeyManagementService/Encrypt", v2.EncryptRequestSchema, v2.EncryptResponseSchema, (message) =>
      own.encrypt(message),
    ),
    Decrypt: method(
      "/v2.KeyManagementService/Decrypt",
      v2.DecryptRequestSchema,
      v2.DecryptResponseSchema,
      (message) => {
        const key = `${Buffer.from(message.ciphertext).toString("hex")} ${message.keyId} ${Object.keys(message.annotations).join()}`;
        const known = identical.get(key) ?? own.decrypt(message);
        identical.set(key, known);
        return known;
      },
    ),
    V1Version: method(
      "/v1beta1.KeyManagementService/Version",
      v1.VersionRequestSchema,
      v1.VersionResponseSchema,
      ({ version }) => {
        if (version !== "v1beta1") throw failure(3, "version");
        return {
          version: mutation === "wrong v1 version" ? "v2" : "v1beta1",
          runtimeName: "reference",
          runtimeVersion: "0.0.0",
        };
      },
    ),
    V1Encrypt: method(
      "/v1beta1.KeyManagementService/Encrypt",
      v1.EncryptRequestSchema,
      v1.EncryptResponseSchema,
      ({ version, plain }) => {
        if (version !== "v1beta1") throw failure(3, "version");
        return {
          cipher: own.encrypt(create(v2.EncryptRequestSchema, { plaintext: plain })).ciphertext ?? new Uint8Array(),
        };
      },
    ),
    V1Decrypt: method(
      "/v1beta1.KeyManagementService/Decrypt",
      v1.DecryptRequestSchema,
      v1.DecryptResponseSchema,
      ({ version, cipher }) => {
        if (version !== "v1beta1") throw failure(3, "version");
        return {
          plain:
            own.decrypt(create(v2.DecryptRequestSchema, { ciphertext: cipher, keyId: idOf(cipher[0] ?? 0, mutation) }))
              .plaintext ?? new Uint8Array(),
        };
      },
    ),
  };
  for (const [name, { definition, handle }] of Object.entries(methods))
    server.addService({ [name]: definition }, { [name]: handle });
  if (mutation === "unknown method served")
    server.addService(
      { Nothing: { ...methods.Status.definition, path: "/v2.KeyManagementService/Nothing" } },
      { Nothing: methods.Status.handle },
    );
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  return server;
}

/** May a plugin take this path? Throws what it says before it exits. */
export async function takePath(path: string, mutation: Mutation): Promise<void> {
  if (!path.startsWith("/") || Buffer.byteLength(path) > 107)
    throw new Error("the path must be absolute and at most 107 bytes");
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (mutation === "takes any path") return rmSync(path, { recursive: true });
  if (!found.isSocket()) throw new Error("not a socket");
  const isLive = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    }).once("error", () => resolve(false));
  });
  if (isLive) throw new Error("somebody serves it");
  rmSync(path);
}
