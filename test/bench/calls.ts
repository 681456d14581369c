// Calls on a KMS plugin's socket: what is sent, and the client that sends it, a process of its own.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { kmsClient } from "../lab/kms.ts";
import { findBinary } from "../parts/find.ts";

export type LoadOptions = {
  readonly socket: string;
  /** `/v2.KeyManagementService/Decrypt` and so on. */
  readonly path: string;
  /** A JSON file: serialized requests in base64, taken in turn. */
  readonly bodies: string;
  readonly concurrency: number;
  readonly seconds: number;
};

/** Milliseconds of the calls that were answered. */
export type LoadResult = {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly calls: number;
  readonly failed: number;
};

/**
 * The limit of a cluster whose storms are measured. By default a cluster has 2,000 calls a second that last,
 * and bursts of 20,000: storm after storm would soon measure the refusals.
 */
export const benchRequestsPerSecond = 1_000_000;

export type Method = "status" | "encrypt" | "decrypt";

/** Files of requests, one for each method: see LoadOptions. */
export type Bodies = Readonly<Record<Method, string>>;

function messageOf(method: Method, sealed: v2.EncryptResponse): Uint8Array {
  switch (method) {
    case "status":
      return new Uint8Array();
    case "encrypt":
      return toBinary(v2.EncryptRequestSchema, create(v2.EncryptRequestSchema, { plaintext: randomBytes(32) }));
    case "decrypt": {
      const { ciphertext, keyId, annotations } = sealed;
      return toBinary(
        v2.DecryptRequestSchema,
        create(v2.DecryptRequestSchema, { ciphertext, keyId, annotations, uid: "bench" }),
      );
    }
  }
}

/** Has a plugin encrypt so many seeds, and writes requests with them into a folder. */
export async function writeBodies(socket: string, dir: string, count: number): Promise<Bodies> {
  const client = kmsClient(socket);
  const sealed: v2.EncryptResponse[] = [];
  while (sealed.length < count)
    sealed.push(...(await Promise.all(Array.from({ length: 64 }, () => client.encrypt(randomBytes(32))))));
  client.close();
  const write = (method: Method): string => {
    const file = join(dir, `${method}.json`);
    const texts = sealed.map((one) => Buffer.from(messageOf(method, one)).toString("base64"));
    writeFileSync(file, JSON.stringify(texts), { mode: 0o600 });
    return file;
  };
  return { status: write("status"), encrypt: write("encrypt"), decrypt: write("decrypt") };
}

/** Runs the load client, test/bench/direct/load. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const child = spawn(findBinary("grpc-load"), [JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const chunks: Buffer[] = [];
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString()) as LoadResult;
}

/** The middle one; the upper of two. NaN of none. */
export function medianOf(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
