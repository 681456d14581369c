// Readers of what nodes, shims, gateways and proxies send: envelopes, messages, epochs.
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import * as relay from "@claviger/proto/gen/claviger/relay_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import { formatEpoch, parseEpoch } from "@claviger/proto/wire/epoch.ts";
import { walkFields } from "@claviger/proto/wire/fields.ts";
import { formatShimReport, parseShimReport } from "@claviger/proto/wire/shim-report.ts";
import { decodeEnvelope, encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { createEpochMac } from "@claviger/gateway-core/src/key/epoch-mac.ts";
import { decodeMessage } from "../../../gateway/server/src/http/connect.ts";
import { createRelay } from "../../../shim/src/relay.ts";
import { noMetrics } from "../../unit/shim/fakes.ts";
import { behind, either, json, protobuf } from "../formats.ts";
import { canary, saidBy, type Target } from "../target.ts";
import { type Format, isList, numberOf } from "../trees.ts";
import { envelope, isKmsError, keyId, secret, texts, uid } from "./common.ts";

const nobody = (): boolean => false;
const epochs = createEpochMac(() => secret);
/** Three numbers, which a gateway has signed. */
const signedEpoch: Format = {
  decode(input) {
    const epoch = parseEpoch(input.toString("latin1").split(" ")[0]);
    return epoch === undefined ? undefined : [...epoch];
  },
  encode(tree) {
    const [one, two, three] = isList(tree) ? tree.map(numberOf) : [];
    const epoch = [one ?? 0, two ?? 0, three ?? 0] as const;
    return Buffer.from(`${formatEpoch(epoch)} ${epochs.sign(uid, epoch).mac ?? ""}`);
  },
};

const decryptRequest = toBinary(
  v2.DecryptRequestSchema,
  create(v2.DecryptRequestSchema, { ciphertext: envelope, keyId: "k", uid: canary }),
);
const encryptRequest = create(v2.EncryptRequestSchema, { plaintext: Buffer.from(canary), uid: "u" });
const batch = Buffer.from(
  toBinary(relay.BatchRequestSchema, create(relay.BatchRequestSchema, { requests: [decryptRequest, decryptRequest] })),
);
const plain = toBinary(v2.DecryptResponseSchema, create(v2.DecryptResponseSchema, { plaintext: Buffer.from(canary) }));
/** As many as are asked for below. */
const results = ["ciphertext_invalid", undefined, "no_such_reason"].map((reason) => ({
  outcome:
    reason === undefined ? ({ case: "response", value: plain } as const) : ({ case: "reason", value: reason } as const),
}));

/** Three calls of a shim that travel together, for which a gateway answers with `reply`. */
async function askTogether(reply: Buffer): Promise<readonly PromiseSettledResult<unknown>[]> {
  const calls = createRelay("decrypt", {
    upstream: {
      call: () => Promise.resolve({ body: Buffer.from(reply), epoch: undefined, staleForMs: undefined }),
      configure: () => {},
      gateways: () => [],
      close: () => Promise.resolve(),
    },
    metrics: noMetrics,
    epochs: { epoch: () => undefined, accept: () => true },
  });
  const never = new AbortController().signal;
  return await Promise.allSettled(
    results.map((_, i) => calls.call(Buffer.from(decryptRequest), steadyNow() + 1000, never, [Buffer.from([i])])),
  );
}

export const wireTargets: readonly Target[] = [
  {
    name: "envelope",
    depths: { read: 0.05, incomplete: 0.05 },
    seeds: () => [envelope, Buffer.alloc(0)],
    format: behind(Buffer.from("clv1"), protobuf),
    run(input, reach) {
      try {
        const read = decodeEnvelope(input);
        reach("read");
        // What is read is what is written.
        if (!input.equals(encodeEnvelope(read))) throw new TypeError("an envelope that has two forms");
      } catch (error) {
        if (saidBy(error).includes("incomplete")) reach("incomplete");
        throw error;
      }
      return undefined;
    },
    isExpected: isKmsError,
  },
  {
    name: "relay-request",
    depths: { walked: 0.1, refused: 0.05 },
    seeds: () => [batch],
    format: protobuf,
    run(input, reach) {
      walkFields(input, 64, () => {});
      reach("walked");
      return undefined;
    },
    isExpected: isKmsError,
  },
  {
    name: "relay-reply",
    depths: { "a response": 0.05, refused: 0.05 },
    seeds: () => [
      Buffer.from(toBinary(relay.BatchResponseSchema, create(relay.BatchResponseSchema, { results }))),
      Buffer.from(toBinary(relay.BatchResponseSchema, create(relay.BatchResponseSchema))),
    ],
    format: protobuf,
    async run(input, reach) {
      const outcomes = await askTogether(input);
      const failed = outcomes.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
      const foreign = failed.find((error) => !isKmsError(error));
      if (foreign !== undefined) throw new TypeError("an error of another kind", { cause: foreign });
      if (failed.length < outcomes.length) reach("a response");
      return failed.map(saidBy).join(" ");
    },
    isExpected: nobody,
  },
  {
    name: "connect",
    depths: { "a call": 0.05, refused: 0.1 },
    seeds: () => [
      Buffer.from(toBinary(v2.EncryptRequestSchema, encryptRequest)),
      ...texts(toJsonString(v2.EncryptRequestSchema, encryptRequest)),
      batch,
    ],
    format: either(json, protobuf),
    run(input, reach) {
      const encoding = input[0] === 0x7b ? "json" : "proto";
      const said = (end: string, run: () => unknown): string => {
        try {
          run();
          reach(end);
          return "";
        } catch (error) {
          if (!isKmsError(error)) throw error;
          return saidBy(error);
        }
      };
      return (
        said("a batch", () => decodeMessage(relay.BatchRequestSchema, encoding, input)) +
        said("a call", () => decodeMessage(v2.EncryptRequestSchema, encoding, input))
      );
    },
    isExpected: nobody,
  },
  {
    name: "epoch",
    depths: { proven: 0.1, claimed: 0.05, refused: 0.05 },
    seeds: () =>
      texts(
        formatEpoch([4, 1_790_000_000, 3]),
        `${formatEpoch([4, 1, 3])} ${epochs.sign(uid, [4, 1, 3]).mac ?? ""}`,
        "",
      ),
    format: signedEpoch,
    run(input, reach) {
      const [text = "", mac] = input.toString("latin1").split(" ");
      const read = parseEpoch(text);
      if (read !== undefined && parseEpoch(formatEpoch(read)) === undefined)
        throw new TypeError("an epoch that does not read back");
      const seen = epochs.read(uid, { text, ...(mac !== undefined && { mac }) });
      if (seen !== undefined) reach(seen.isProven ? "proven" : "claimed");
      if (seen?.isProven === true && mac !== epochs.sign(uid, seen.epoch).mac)
        throw new TypeError("an epoch is proven that nobody signed");
      return undefined;
    },
    isExpected: nobody,
  },
  {
    name: "shim-report",
    depths: { read: 0.02, refused: 0.1 },
    seeds: () =>
      texts(
        formatShimReport({
          version: "0.1.0",
          phase: 1,
          sinceGood: 12,
          keyId,
          config: "0123456789abcdef",
          lastOutage: { phase: 2, lasted: 60, ago: 3600 },
        }),
        "version=0.1.0;phase=0",
      ),
    run(input, reach) {
      const report = parseShimReport(input.toString("latin1"));
      if (report !== undefined) reach("read");
      if (report !== undefined && parseShimReport(formatShimReport(report)) === undefined)
        throw new TypeError("a report that does not read back");
      return undefined;
    },
    isExpected: nobody,
  },
];
