// Readers of what operators write: the registry and the settings.
import { checkConfig, parseYaml } from "@claviger/proto/runtime/config.ts";
import { gatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { readIndex, readUid } from "@claviger/gateway-core/src/registry/documents.ts";
import { mergeRegistry } from "@claviger/gateway-core/src/registry/merge.ts";
import { shimConfig } from "../../../shim/src/config.ts";
import { json, yaml } from "../formats.ts";
import type { Target } from "../target.ts";
import { isConfigError, ref, texts, uid } from "./common.ts";

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

/** True where a reader takes it; a refusal that it documents is none. */
function isTaken(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    if (isConfigError(error)) return false;
    throw error;
  }
}

export const settingsTargets: readonly Target[] = [
  {
    name: "registry",
    depths: { "a record": 0.05, "a problem": 0.1 },
    seeds: () =>
      texts(
        registryText,
        "clusters: []\n",
        JSON.stringify({ clusters: [{ name: "a", uid, state: "active", keys: [ref] }] }),
      ),
    format: yaml,
    run(input, reach) {
      const { problems, registry } = mergeRegistry("clusters.yaml", input.toString(), { has: () => true }, undefined);
      reach(problems.length > 0 ? "a problem" : registry.size > 0 ? "a record" : "no record");
      return problems.join("\n");
    },
    isExpected: isConfigError,
  },
  {
    name: "registry-documents",
    depths: { index: 0.05, uid: 0.05, json: 0.05 },
    seeds: () =>
      texts(
        JSON.stringify({ sequence: 4, changed: ["3 dev", "4 prod"] }),
        JSON.stringify({ cluster: "prod", generation: 3 }),
      ),
    format: json,
    run(input, reach) {
      let document: unknown;
      try {
        document = JSON.parse(input.toString());
      } catch {
        return undefined;
      }
      reach("json");
      if (isTaken(() => readIndex("kv", document))) reach("index");
      readUid("kv", uid, document);
      reach("uid");
      return undefined;
    },
    isExpected: isConfigError,
  },
  {
    name: "configuration",
    depths: { gateway: 0.02, shim: 0.02, yaml: 0.2 },
    seeds: () => texts(gatewayText, shimText),
    format: yaml,
    run(input, reach) {
      const tree = parseYaml("x.yaml", input.toString());
      reach("yaml");
      if (isTaken(() => checkConfig("gateway.yaml", tree, gatewayConfig))) reach("gateway");
      checkConfig("shim.yaml", tree, shimConfig);
      reach("shim");
      return undefined;
    },
    isExpected: isConfigError,
  },
];
