import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { adviceForMessage } from "@claviger/proto/wire/advice.ts";
import { reasons } from "@claviger/proto/wire/errors.ts";
import { type CheckReport, formatCheck, runCheck } from "@claviger/cli/src/check.ts";
import { GrpcError } from "@claviger/cli/src/grpc.ts";
import { createKmsClient, type KmsClient } from "@claviger/cli/src/kms-client.ts";
import { Finding, probeSocket } from "@claviger/cli/src/probe.ts";
import {
  DecryptResponseSchema,
  EncryptResponseSchema,
  StatusResponseSchema,
} from "@claviger/proto/gen/k8s/kms_v2_pb.ts";

function grpcError(code: number, details: string): GrpcError {
  return new GrpcError({ code, details });
}

/** A plugin that keeps the contract, but for what a test changes. */
function plugin(change: Partial<KmsClient> = {}): KmsClient & { readonly calls: string[] } {
  const calls: string[] = [];
  const held = new Map<string, Uint8Array>();
  const good: KmsClient = {
    status: async () => create(StatusResponseSchema, { version: "v2", healthz: "ok", keyId: "key-1" }),
    encrypt: async ({ plaintext = new Uint8Array() }) => {
      const ciphertext = Buffer.from(`sealed ${held.size}`);
      held.set(ciphertext.toString(), Uint8Array.from(plaintext));
      return create(EncryptResponseSchema, { ciphertext, keyId: "key-1" });
    },
    decrypt: async ({ ciphertext = new Uint8Array() }) =>
      create(DecryptResponseSchema, { plaintext: held.get(Buffer.from(ciphertext).toString()) ?? new Uint8Array() }),
    close: () => undefined,
  };
  const made = { ...good, ...change };
  return {
    calls,
    status: () => (calls.push("status"), made.status()),
    encrypt: (request) => (calls.push("encrypt"), made.encrypt(request)),
    decrypt: (request) => (calls.push("decrypt"), made.decrypt(request)),
    close: () => void calls.push("close"),
  };
}

function check(
  client: KmsClient,
  probe: () => Promise<string> = () => Promise.resolve("so may every user"),
): Promise<CheckReport> {
  return runCheck({ socket: "/run/kms.sock", timeoutMs: 3000, probe, open: () => client, clock: () => 0 });
}

test("a timeout that is too short for any shim is named with the least that is not", async () => {
  const client = plugin({ status: () => Promise.reject(grpcError(4, "Deadline exceeded")) });
  const { steps } = await runCheck({
    socket: "/run/kms.sock",
    timeoutMs: 20,
    probe: () => Promise.resolve("so may every user"),
    open: () => client,
    clock: () => 0,
  });
  assert.match(steps.at(-1)?.advice ?? "", /20 ms are too few.*at least 50 ms/);
});

function encryptWith(fields: {
  ciphertext?: Uint8Array;
  keyId?: string;
  annotations?: Record<string, Uint8Array>;
}): Partial<KmsClient> {
  return {
    encrypt: async () => create(EncryptResponseSchema, { ciphertext: Uint8Array.of(1), keyId: "key-1", ...fields }),
  };
}
function statusWith(fields: { version?: string; healthz?: string; keyId?: string }): Partial<KmsClient> {
  return {
    status: async () => create(StatusResponseSchema, { version: "v2", healthz: "ok", keyId: "key-1", ...fields }),
  };
}

test("a plugin that keeps the contract passes in three calls, and the client is closed", async () => {
  const client = plugin();
  const report = await check(client);
  assert.deepEqual(
    [report.ok, report.steps.map(({ name }) => name)],
    [true, ["socket", "status", "encrypt", "decrypt"]],
  );
  assert.deepEqual(client.calls, ["status", "encrypt", "decrypt", "close"]);
  assert.match(formatCheck(report), /can use this provider/);
});

const broken: readonly {
  readonly name: string;
  readonly plugin: Partial<KmsClient>;
  readonly step: string;
  readonly says: RegExp;
  readonly advises?: RegExp;
}[] = [
  { name: "another version", plugin: statusWith({ version: "v1beta1" }), step: "status", says: /version 'v1beta1'/ },
  { name: "a healthz in capitals", plugin: statusWith({ healthz: "OK" }), step: "status", says: /not healthy: OK/ },
  { name: "an empty healthz", plugin: statusWith({ healthz: "" }), step: "status", says: /\(empty\)/ },
  { name: "no key_id", plugin: statusWith({ keyId: "" }), step: "status", says: /key_id is empty/ },
  {
    name: "a key_id of 1025 bytes",
    plugin: statusWith({ keyId: "k".repeat(1025) }),
    step: "status",
    says: /1025 bytes/,
  },
  {
    name: "a refusal by Claviger",
    plugin: {
      status: () =>
        Promise.reject(grpcError(7, "claviger: this cluster is suspended; ask the fleet's operators to resume it")),
    },
    step: "status",
    says: /^PERMISSION_DENIED: claviger: this cluster is suspended/,
    advises: /claviger cluster resume/,
  },
  {
    name: "no answer",
    plugin: { status: () => Promise.reject(grpcError(4, "Deadline exceeded")) },
    step: "status",
    says: /DEADLINE/,
    advises: /3000 ms/,
  },
  {
    name: "another gRPC server",
    plugin: { status: () => Promise.reject(grpcError(12, "unknown")) },
    step: "status",
    says: /UNIMPL/,
    advises: /another program/,
  },
  {
    name: "an empty ciphertext",
    plugin: encryptWith({ ciphertext: new Uint8Array() }),
    step: "encrypt",
    says: /ciphertext is empty/,
  },
  {
    name: "a ciphertext of 1025 bytes",
    plugin: encryptWith({ ciphertext: new Uint8Array(1025) }),
    step: "encrypt",
    says: /1025 bytes/,
  },
  {
    name: "a key_id unlike Status",
    plugin: encryptWith({ keyId: "key-2" }),
    step: "encrypt",
    says: /key-2, Status says key-1/,
    advises: /disagree/,
  },
  {
    name: "an annotation of one label",
    plugin: encryptWith({ annotations: { note: new Uint8Array() } }),
    step: "encrypt",
    says: /annotation 'note'/,
  },
  {
    name: "too many annotations",
    plugin: encryptWith({ annotations: { "a.example": new Uint8Array(32_768) } }),
    step: "encrypt",
    says: /32777 bytes/,
  },
  {
    name: "a plaintext in the open",
    plugin: {
      encrypt: async ({ plaintext = new Uint8Array() }) =>
        create(EncryptResponseSchema, { ciphertext: Buffer.from(plaintext), keyId: "key-1" }),
    },
    step: "encrypt",
    says: /holds the plaintext/,
  },
  {
    name: "other bytes back",
    plugin: { decrypt: async () => create(DecryptResponseSchema, { plaintext: new Uint8Array(32) }) },
    step: "decrypt",
    says: /other bytes/,
  },
  {
    name: "a Decrypt that fails",
    plugin: { decrypt: () => Promise.reject(grpcError(3, "no")) },
    step: "decrypt",
    says: /INVALID_ARGUMENT/,
  },
];

for (const { name, plugin: change, step, says, advises = /./ } of broken)
  test(`${name} is found at ${step}, with advice, and ends the check`, async () => {
    const report = await check(plugin(change));
    const last = report.steps.at(-1);
    assert.equal(report.ok, false);
    assert.equal(last?.name, step);
    assert.match(last.detail, says);
    assert.match(last.advice ?? "", advises);
    assert.match(formatCheck(report), /FAIL[^]*what to do: [^]*cannot use/);
  });

test("a rotation between Status and Encrypt is no mistake", async () => {
  let keyId = "key-1";
  const client = plugin({
    status: async () => create(StatusResponseSchema, { version: "v2", healthz: "ok", keyId }),
    encrypt: async () => create(EncryptResponseSchema, { ciphertext: Uint8Array.of(1), keyId: (keyId = "key-2") }),
  });
  const report = await check(client);
  assert.equal(report.steps.find(({ name }) => name === "encrypt")?.ok, true);
});

test("nothing is called when the socket is no good", async () => {
  const client = plugin();
  const report = await check(client, () => Promise.reject(new Finding("gone", "start it")));
  assert.deepEqual([report.ok, report.steps.length, client.calls], [false, 1, []]);
});

describe("a socket", () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-probe-"));
  });
  after(() => rm(dir, { recursive: true, force: true }));
  const finding = (path: string): Promise<Finding> =>
    probeSocket(path, 1000).then(
      () => assert.fail("nothing was found"),
      (error: unknown) => (error instanceof Finding ? error : assert.fail(String(error))),
    );

  test("that is missing, in a missing directory, or below a file is told apart", async () => {
    await writeFile(join(dir, "file"), "");
    assert.match((await finding(join(dir, "kms.sock"))).message, /no socket at/);
    assert.match((await finding(join(dir, "no", "kms.sock"))).message, /directory .* does not exist/);
    assert.match((await finding(join(dir, "file", "kms.sock"))).message, /not a directory/);
  });

  test("that is a file or a directory is no socket", async () => {
    await mkdir(join(dir, "folder"));
    assert.match((await finding(join(dir, "file"))).message, /is a file, not a socket/);
    assert.match((await finding(join(dir, "folder"))).message, /is a directory/);
  });

  test("with a path of more than 107 bytes is refused before it is looked at", async () => {
    assert.match((await finding(`/${"x".repeat(107)}`)).message, /108 bytes/);
  });

  test("with a listener behind it is good; one that was left behind is named as that", async () => {
    const path = join(dir, "live.sock");
    const server = createServer().listen(path);
    await once(server, "listening");
    await chmod(path, 0o600);
    await probeSocket(path, 1000);
    // A listener that closes removes its socket; one that is killed does not. Renaming in between
    // leaves one behind.
    const { rename } = await import("node:fs/promises");
    await rename(path, join(dir, "dead.sock"));
    server.close();
    assert.match((await finding(join(dir, "dead.sock"))).message, /no process listens/);
  });

  test("behind which something else than gRPC speaks gives a clear error, not a wait for ever", async () => {
    const path = join(dir, "other.sock");
    const server = createServer(
      (socket) => void socket.on("error", () => undefined).end("SSH-2.0-not-grpc\r\n"),
    ).listen(path);
    await once(server, "listening");
    const report = await runCheck({
      socket: path,
      timeoutMs: 300,
      probe: () => probeSocket(path, 300),
      open: () => createKmsClient({ socket: path, timeoutMs: 300 }),
    });
    server.close();
    assert.deepEqual([report.ok, report.steps.length, report.steps[1]?.name], [false, 2, "status"]);
    assert.ok((report.steps[1]?.advice ?? "").length > 0);
  });
});

test("every message of the error table has its own advice", () => {
  const all = Object.values(reasons).map(({ message }) => adviceForMessage(message));
  assert.ok(all.every((advice) => advice !== undefined && advice.length > 10));
  // What is a fault of the caller has the same cure, whatever the message.
  assert.equal(new Set(all).size, all.length - 1);
});
