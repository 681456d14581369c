// `claviger check`: does once what kube-apiserver does at each start (Status, Encrypt,
// Decrypt), checks the answers against Kubernetes' own rules, and says what is wrong and what to do.
import { randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import type { EncryptResponse } from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { adviceForMessage } from "@claviger/proto/wire/advice.ts";
import { GrpcError } from "./grpc.ts";
import type { KmsClient } from "./kms-client.ts";
import { Finding } from "./probe.ts";
import { assertEncrypted, assertStatus } from "./rules.ts";

export type StepName = "socket" | "status" | "encrypt" | "decrypt";

export type CheckStep = {
  readonly name: StepName;
  readonly ok: boolean;
  readonly milliseconds: number;
  /** What was seen, or what is wrong. */
  readonly detail: string;
  /** What to do; only where ok is false. */
  readonly advice?: string;
};

export type CheckReport = { readonly socket: string; readonly ok: boolean; readonly steps: readonly CheckStep[] };

/** With less the shim cannot ask a gateway and answer before the caller gives up. */
const leastTimeoutMs = 50;

/** Each message of the error table has its own advice; for any other text the code decides. */
function adviceFor({ code, text }: GrpcError, timeoutMs: number): string {
  if (code === "DEADLINE_EXCEEDED" && timeoutMs < leastTimeoutMs)
    return `${timeoutMs} ms are too few: give the provider a timeout of at least ${leastTimeoutMs} ms and the round trip to the gateway (3s by default)`;
  if (text.startsWith("claviger: "))
    return adviceForMessage(text) ?? "this is a message of another release: see the log of the shim and of the gateway";
  switch (code) {
    case "DEADLINE_EXCEEDED":
      return `no answer within ${timeoutMs} ms: look at the log of the shim, then at the gateway's /readyz; kube-apiserver waits as long as its provider's timeout says (3s by default)`;
    case "UNIMPLEMENTED":
      return "a gRPC server answers, but not a KMS v2 plugin: another program owns this socket";
    case "UNAVAILABLE":
    case "INTERNAL":
    case "UNKNOWN":
      return "what listens there does not speak gRPC as a KMS plugin does, or it crashed during the call: look at its log";
    default:
      return "look at the plugin's log";
  }
}

function asFinding(error: unknown, timeoutMs: number): Finding {
  if (error instanceof Finding) return error;
  if (error instanceof GrpcError) return new Finding(`${error.code}: ${error.text}`, adviceFor(error, timeoutMs));
  throw error;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/**
 * Encrypts under the key that Status names. A rotation may come in between: as kube-apiserver does,
 * this asks Status again, once.
 */
async function encryptAsStatusSays(client: KmsClient, plaintext: Uint8Array, keyId: string): Promise<EncryptResponse> {
  const encrypted = await client.encrypt({ plaintext, uid: randomUUID() });
  assertEncrypted(encrypted, plaintext);
  if (encrypted.keyId === keyId) return encrypted;
  const again = await client.status();
  assertStatus(again);
  if (again.keyId === encrypted.keyId) return encrypted;
  throw new Finding(
    `Encrypt says key_id ${encrypted.keyId}, Status says ${again.keyId}`,
    "kube-apiserver refuses this; if it lasts longer than one refresh, the gateways disagree: compare 'claviger key status' with their logs",
  );
}

/**
 * Runs the steps until one fails.
 * @param probe looks at the socket, and says who may connect; throws Finding
 */
export async function runCheck({
  socket,
  timeoutMs,
  probe,
  open,
  clock = () => performance.now(),
}: {
  readonly socket: string;
  readonly timeoutMs: number;
  readonly probe: () => Promise<string>;
  readonly open: () => KmsClient;
  readonly clock?: () => number;
}): Promise<CheckReport> {
  const steps: CheckStep[] = [];
  const step = async <T>(
    name: StepName,
    run: () => Promise<{ readonly detail: string; readonly value: T }>,
  ): Promise<T | undefined> => {
    const start = clock();
    const took = (): number => Math.round((clock() - start) * 10) / 10;
    try {
      const { detail, value } = await run();
      steps.push({ name, ok: true, milliseconds: took(), detail });
      return value;
    } catch (error) {
      const { message, advice } = asFinding(error, timeoutMs);
      steps.push({ name, ok: false, milliseconds: took(), detail: message, advice });
      return undefined;
    }
  };
  const report = (): CheckReport => ({ socket, ok: steps.every(({ ok }) => ok), steps });

  const listening = await step("socket", async () => {
    return { detail: `a process listens, and this user may connect; ${await probe()}`, value: true };
  });
  if (listening === undefined) return report();
  const client = open();
  const plaintext = randomBytes(32);
  try {
    const status = await step("status", async () => {
      const value = await client.status();
      assertStatus(value);
      return { detail: `version ${value.version}, healthz ok, key_id ${value.keyId}`, value };
    });
    if (status === undefined) return report();
    const encrypted = await step("encrypt", async () => {
      const value = await encryptAsStatusSays(client, plaintext, status.keyId);
      return { detail: `32 random bytes became ${value.ciphertext.length}, under the key_id of Status`, value };
    });
    if (encrypted === undefined) return report();
    const { ciphertext, keyId, annotations } = encrypted;
    await step("decrypt", async () => {
      const decrypted = await client.decrypt({ ciphertext, keyId, annotations, uid: randomUUID() });
      if (!sameBytes(decrypted.plaintext, plaintext))
        throw new Finding(
          "Decrypt gave back other bytes than were encrypted",
          "stop: kube-apiserver would cache the wrong key and lose every Secret under it until its restart",
        );
      return { detail: "the same 32 bytes came back", value: true };
    });
    return report();
  } finally {
    client.close();
    plaintext.fill(0);
  }
}

const labels: Readonly<Record<StepName, string>> = {
  socket: "Socket",
  status: "Status",
  encrypt: "Encrypt",
  decrypt: "Decrypt",
};

/** The report for people. */
export function formatCheck({ socket, ok, steps }: CheckReport): string {
  return [
    `unix://${socket}`,
    ...steps.flatMap(({ name, ok: good, milliseconds, detail, advice }) => [
      `  ${good ? "ok  " : "FAIL"}  ${labels[name].padEnd(8)} ${`${milliseconds} ms`.padStart(9)}  ${detail}`,
      ...(advice === undefined ? [] : [`        what to do: ${advice}`]),
    ]),
    ok ? "kube-apiserver can use this provider." : "kube-apiserver cannot use this provider as it is.",
  ].join("\n");
}
