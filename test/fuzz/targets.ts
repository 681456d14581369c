// The readers of what others write: nodes, proxies, operators' files, Vault, Redis, etcd.
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import * as relay from "@claviger/proto/gen/claviger/relay_pb.ts";
import * as v2 from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { checkConfig, ConfigError, parseYaml } from "@claviger/proto/runtime/config.ts";
import { formatEpoch, parseEpoch } from "@claviger/proto/wire/epoch.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { walkFields } from "@claviger/proto/wire/fields.ts";
import { formatShimReport, parseShimReport } from "@claviger/proto/wire/shim-report.ts";
import { backendName, clusterUid, keyName, mountPath } from "@claviger/proto/wire/names.ts";
import { readDecrypt, readEncrypt } from "@claviger/gateway-core/src/backend/vault/transit.ts";
import { gatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { decodeEnvelope, encodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { createEpochMac } from "@claviger/gateway-core/src/key/epoch-mac.ts";
import { deriveKeyId } from "@claviger/gateway-core/src/key/key-id.ts";
import { signValue, verifyValue } from "@claviger/gateway-core/src/redis/signed-value.ts";
import { readIndex, readUid } from "@claviger/gateway-core/src/registry/documents.ts";
import { mergeRegistry } from "@claviger/gateway-core/src/registry/merge.ts";
import { readStored } from "@claviger/cli/src/usage/etcd-value.ts";
import { decodeMessage } from "../../gateway/server/src/http/connect.ts";
import { parseForwarded } from "../../gateway/server/src/http/forwarded.ts";
import { shimConfig } from "../../shim/src/config.ts";
import { canary, type Target } from "./target.ts";

const isKmsError = (error: unknown): boolean => error instanceof KmsError;
const isConfigError = (error: unknown): boolean => error instanceof ConfigError;
const texts = (...list: readonly string[]): readonly Buffer[] => list.map((text) => Buffer.from(text));

const uid = clusterUid.parse("01M8CZX875MFSCYTBWR058VXTG");
const ref = { backend: backendName.parse("main"), mount: mountPath.parse("transit"), key: keyName.parse("prod") };
const promoted = { ref, version: 3, createdAt: 1_790_000_000 };
const envelope = encodeEnvelope({
  clusterUid: uid,
  keyId: deriveKeyId(uid, [promoted]),
  wraps: [{ ...ref, version: 3, ciphertext: Buffer.alloc(60, 9) }],
});

const secret = Buffer.alloc(32, 7);
const signedText = '{"state":{}}';
const epochs = createEpochMac(() => secret);
const base64Canary = Buffer.from(canary).toString("base64");

const registryText = `clusters:
  - name: prod
    uid: ${uid}
    generation: 4
    state: active
    rotation: auto
    labels: { env: prod }
    nodes: { expected: [cp-1], revoked: [cp-9], revokedSerials: [0A1B] }
    keys: [{ backend: main, mount: transit, key: prod }]
`;
const gatewayText = `listen: { address: 127.0.0.1, port: 8443 }
admin: { address: 127.0.0.1, port: 9090 }
tls: { cert: /a, key: /b, clientCa: /c }
trustDomain: fleet.test
registry: { kind: file, file: /d }
backends: { main: { kind: vault, addresses: [https://vault.test:8200], auth: { kind: token, file: /e } } }
audit: { sinks: [{ kind: stdout }] }
`;
const shimText = `socket: { path: /run/kms.sock, mode: "0660", group: 0 }
gateways: [https://a.test:8443, https://b.test:8443]
tls: { cert: /a, key: /b, ca: /c }
outage: { healthyFor: 10m }
`;

export const targets: readonly Target[] = [
  {
    name: "envelope",
    seeds: () => [Buffer.from(envelope), Buffer.alloc(0)],
    run(input) {
      const read = decodeEnvelope(input);
      // What is read is what is written.
      decodeEnvelope(encodeEnvelope(read));
      return undefined;
    },
    isExpected: isKmsError,
  },
  {
    name: "relay",
    seeds: () => {
      const one = toBinary(
        v2.DecryptRequestSchema,
        create(v2.DecryptRequestSchema, { ciphertext: envelope, keyId: "k", uid: canary }),
      );
      return [
        Buffer.from(toBinary(relay.BatchRequestSchema, create(relay.BatchRequestSchema, { requests: [one, one] }))),
      ];
    },
    run(input) {
      walkFields(input, 64, () => {});
      return undefined;
    },
    isExpected: isKmsError,
  },
  {
    name: "connect",
    seeds: () => {
      const message = create(v2.EncryptRequestSchema, { plaintext: Buffer.from(canary), uid: "u" });
      return [
        Buffer.from(toBinary(v2.EncryptRequestSchema, message)),
        ...texts(toJsonString(v2.EncryptRequestSchema, message)),
      ];
    },
    run(input) {
      const encoding = input[0] === 0x7b ? "json" : "proto";
      const said = (run: () => unknown): string => {
        try {
          run();
          return "";
        } catch (error) {
          if (!isKmsError(error)) throw error;
          return `${(error as Error).message} ${String((error as Error).cause)}`;
        }
      };
      return (
        said(() => decodeMessage(v2.EncryptRequestSchema, encoding, input)) +
        said(() => decodeMessage(relay.BatchRequestSchema, encoding, input))
      );
    },
    isExpected: () => false,
  },
  {
    name: "shim-report",
    seeds: () =>
      texts(
        "version=0.2.0;phase=0",
        formatShimReport({
          version: "0.2.0-rc.1",
          phase: 2,
          sinceGood: 900,
          keyId: deriveKeyId(uid, [promoted]),
          config: "0123456789abcdef",
          lastOutage: { phase: 3, lasted: 5000, ago: 1 },
        }),
      ),
    run(input) {
      const read = parseShimReport(input.toString("latin1"));
      if (read === undefined) return "";
      const text = formatShimReport(read);
      if (!/^[\x21-\x7e]{1,200}$/.test(text)) throw new TypeError("a report that is not printable, or too long");
      if (formatShimReport(parseShimReport(text) ?? { version: "0", phase: 0 }) !== text)
        throw new TypeError("a report that does not read back");
      return text;
    },
    isExpected: () => false,
  },
  {
    name: "epoch",
    seeds: () =>
      texts(
        formatEpoch([4, 1_790_000_000, 3]),
        `${formatEpoch([4, 1, 3])} ${epochs.sign(uid, [4, 1, 3]).mac ?? ""}`,
        "",
      ),
    run(input) {
      const [text = "", mac] = input.toString("latin1").split(" ");
      const read = parseEpoch(text);
      if (read !== undefined && parseEpoch(formatEpoch(read)) === undefined)
        throw new TypeError("an epoch that does not read back");
      const seen = epochs.read(uid, { text, ...(mac !== undefined && { mac }) });
      if (seen?.isProven === true && mac !== epochs.sign(uid, seen.epoch).mac)
        throw new TypeError("an epoch is proven that nobody signed");
      return undefined;
    },
    isExpected: () => false,
  },
  {
    name: "forwarded",
    // And one with a certificate and a chain, in the corpus.
    seeds: () => texts("By=spiffe://a;Cert=x", 'Subject="CN=\\"a\\", O=b";URI=spiffe://x', "a,b;c"),
    run(input) {
      parseForwarded(input.toString("latin1"));
      return undefined;
    },
    isExpected: () => false,
  },
  {
    name: "registry",
    seeds: () =>
      texts(
        registryText,
        "clusters: []\n",
        JSON.stringify({ clusters: [{ name: "a", uid, state: "active", keys: [ref] }] }),
      ),
    run: (input) =>
      mergeRegistry("clusters.yaml", input.toString(), { has: () => true }, undefined).problems.join("\n"),
    isExpected: isConfigError,
  },
  {
    name: "registry-documents",
    seeds: () =>
      texts(
        JSON.stringify({ sequence: 4, changed: [["prod", 4]] }),
        JSON.stringify({ cluster: "prod", generation: 3 }),
      ),
    run(input) {
      let json: unknown;
      try {
        json = JSON.parse(input.toString());
      } catch {
        return undefined;
      }
      try {
        readIndex("kv", json);
      } catch (error) {
        if (!isConfigError(error)) throw error;
      }
      readUid("kv", uid, json);
      return undefined;
    },
    isExpected: isConfigError,
  },
  {
    name: "configuration",
    seeds: () => texts(gatewayText, shimText),
    run(input) {
      const tree = parseYaml("x.yaml", input.toString());
      try {
        checkConfig("gateway.yaml", tree, gatewayConfig);
      } catch (error) {
        if (!isConfigError(error)) throw error;
      }
      checkConfig("shim.yaml", tree, shimConfig);
      return undefined;
    },
    isExpected: isConfigError,
  },
  {
    name: "vault-decrypt",
    seeds: () =>
      texts(
        `{"request_id":"r","data":{"batch_results":[{"plaintext":"${base64Canary}"},{"error":"cipher: message authentication failed"}]}}`,
        `{"errors":["1 error occurred:\\n\\t* ${base64Canary}\\n\\n"]}`,
        '{"data":null}',
      ),
    run(body) {
      const outcomes = readDecrypt(
        { status: body.length % 3 === 0 ? 400 : 200, body, headers: {} } as unknown as Parameters<
          typeof readDecrypt
        >[0],
        2,
      );
      return outcomes.map((one) => (one.ok ? "" : `${one.error.message} ${String(one.error.cause)}`)).join(" ");
    },
    isExpected: isKmsError,
  },
  {
    name: "vault-encrypt",
    seeds: () =>
      texts(`{"request_id":"r","data":{"batch_results":[{"ciphertext":"vault:v3:${base64Canary}"},{"error":"x"}]}}`),
    run(body) {
      const items = [1, 2].map(() => ({ plaintext: Buffer.from(canary), associatedData: Buffer.alloc(0), version: 3 }));
      const outcomes = readEncrypt(
        { status: 200, body, headers: {} } as unknown as Parameters<typeof readEncrypt>[0],
        items,
      );
      return outcomes.map((one) => (one.ok ? "" : `${one.error.message} ${String(one.error.cause)}`)).join(" ");
    },
    isExpected: isKmsError,
  },
  {
    name: "redis",
    seeds: () => texts(signValue(secret, "claviger:key/1", signedText), "x.y", "."),
    run(input) {
      const value = input.toString("latin1");
      const text = verifyValue(secret, "claviger:key/1", value);
      // Its MAC may be spelled in several ways; what it is good for is the one text.
      if (text !== undefined && text !== signedText) throw new TypeError("a value is good that nobody signed");
      return undefined;
    },
    isExpected: () => false,
  },
  {
    name: "etcd",
    seeds: () => [
      ...texts("k8s:enc:kms:v1:claviger:\u0000\u0004abcd", "k8s:enc:aescbc:v1:key1:abc", "{}"),
      Buffer.concat([
        Buffer.from("k8s:enc:kms:v2:claviger:"),
        Buffer.from("0a03616263120163", "hex"),
        Buffer.from([0x1a, 4]),
        Buffer.from("abcd"),
      ]),
    ],
    run(input) {
      readStored(input);
      return undefined;
    },
    isExpected: () => false,
  },
];
