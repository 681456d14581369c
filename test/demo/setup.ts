// The demo's fleet on disk: authority, certificates, registry and configuration, as a small site
// would have them.
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import { newClusterUid } from "@claviger/gateway-core/src/registry/edit/uid.ts";
import {
  createCa,
  issueGateway,
  issueNode,
  issueOperator,
  type KeyPair,
} from "@claviger/gateway-core/src/pki/authority.ts";
import { writeCa, writePem } from "@claviger/gateway-core/src/pki/files.ts";

export const trustDomain = "demo.example";
/** The cluster that the demo is about, and another one of the same fleet, on the same key. */
export const [ours, other] = ["orchard", "harbor"] as const;
export const node = "cp-1";

export type KeyPlace =
  | { readonly kind: "embedded" }
  | {
      readonly kind: "vault";
      readonly addr: string;
      readonly namespace?: string;
      readonly caFile?: string;
      readonly token: Secret;
      readonly mount: string;
      readonly key: string;
    };

export type Fleet = {
  readonly gatewayConfig: string;
  /** The fleet service's configuration. @param gatewayUrl what nodes that enroll are told @param pages the console's */
  readonly fleetConfig: (gatewayUrl: string, pages: string) => Promise<string>;
  /** Where the contexts of an operator of the fleet service are. */
  readonly contexts: string;
  /** Writes it, with one. @returns the file */
  readonly operatorConfig: (fleetUrl: string) => Promise<string>;
  /** Where the node keeps what it gets when it enrolls. */
  readonly nodeDir: string;
  /** The shim's configuration, with the certificate that the node has got. */
  readonly shimConfig: (gatewayUrl: string, fleetUrl: string) => Promise<string>;
  readonly registry: string;
  readonly audit: string;
  readonly keyFile: string;
  readonly socket: string;
  readonly ca: string;
  /** Certificates of people who are not node `cp-1` of `orchard`. */
  readonly otherCluster: KeyPair;
  readonly stranger: KeyPair;
};

function quote(text: string): string {
  return JSON.stringify(text);
}

function backendYaml(place: KeyPlace, dir: string): string {
  if (place.kind === "embedded") return `  main: { kind: embedded, file: ${quote(join(dir, "keys.json"))} }`;
  return [
    "  main:",
    "    kind: vault",
    `    addresses: [${quote(place.addr)}]`,
    ...(place.namespace === undefined ? [] : [`    namespace: ${quote(place.namespace)}`]),
    ...(place.caFile === undefined ? [] : [`    tls: { ca: ${quote(place.caFile)} }`]),
    `    auth: { kind: token, file: ${quote(join(dir, "vault-token"))} }`,
  ].join("\n");
}

function recordYaml(name: string, mount: string, key: string): string {
  return `  - name: ${name}
    uid: ${newClusterUid()}
    state: active
    keys: [{ backend: main, mount: ${mount}, key: ${key} }]
`;
}

/** Writes everything below `dir` (0700). */
export async function createFleet({
  dir,
  socket,
  place,
}: {
  readonly dir: string;
  readonly socket: string;
  readonly place: KeyPlace;
}): Promise<Fleet> {
  await chmod(dir, 0o700);
  const [gatewayDir, shimDir, fleetDir] = [join(dir, "gateway"), join(dir, "shim"), join(dir, "fleet")];
  const nodeDir = join(shimDir, "node");
  await Promise.all([mkdir(gatewayDir), mkdir(shimDir), mkdir(fleetDir)]);

  const ca = await createCa({ trustDomain });
  // The authority's key stays apart from gateway and shim: the fleet service alone signs with it.
  const authority = await writeCa(join(dir, "authority"), ca);
  const server = await writePem({
    dir: gatewayDir,
    name: "gateway",
    pair: await issueGateway({ ca, dnsNames: ["localhost"], ips: ["127.0.0.1"] }),
  });
  const [mount, key] = place.kind === "vault" ? [place.mount, place.key] : ["transit", "fleet"];
  const registry = join(gatewayDir, "clusters.yaml");
  await writeFile(
    registry,
    `# Who may use which key. Both clusters stand on one key, to show that this does not let one read the other.\nclusters:\n${recordYaml(ours, mount, key)}${recordYaml(other, mount, key)}`,
  );
  if (place.kind === "vault")
    await place.token.use((text) => writeFile(join(gatewayDir, "vault-token"), text, { mode: 0o600 }));

  const audit = join(gatewayDir, "audit.jsonl");
  const gatewayConfig = join(gatewayDir, "gateway.yaml");
  await writeFile(
    gatewayConfig,
    `listen: { address: 127.0.0.1, port: 0 }
admin: { address: 127.0.0.1, port: 0 }
tls: { cert: ${quote(server.cert)}, key: ${quote(server.key)}, clientCa: ${quote(authority.cert)} }
trustDomain: ${trustDomain}
registry: { kind: file, file: ${quote(registry)} }
backends:
${backendYaml(place, gatewayDir)}
keys: { refresh: 1s }
audit: { required: true, sinks: [{ kind: file, path: ${quote(audit)} }] }
`,
  );

  const write = async (file: string, text: string): Promise<string> => {
    await writeFile(file, text, { mode: 0o600 });
    return file;
  };
  const contexts = join(fleetDir, "operator.yaml");
  const foreignCa = await createCa({ trustDomain });
  return {
    gatewayConfig,
    fleetConfig: async (gatewayUrl, pages) => {
      const pair = await issueGateway({ ca, dnsNames: ["localhost"], ips: ["127.0.0.1"] });
      const own = await writePem({ dir: fleetDir, name: "fleet", pair });
      return await write(
        join(fleetDir, "fleet.yaml"),
        `listen: { address: 127.0.0.1, port: 0 }
admin: { address: 127.0.0.1, port: 0 }
tls: { cert: ${quote(own.cert)}, key: ${quote(own.key)}, clientCa: ${quote(authority.cert)} }
trustDomain: ${trustDomain}
registry: { kind: file, file: ${quote(registry)} }
certificates: { ca: { kind: directory, directory: ${quote(dirname(authority.cert))} }, trustBundle: ${quote(authority.cert)} }
tokens: { kind: directory, directory: ${quote(join(fleetDir, "tokens"))} }
gateways: [${quote(gatewayUrl)}]
operators: { ada: { role: admin } }
console: { directory: ${quote(pages)} }
audit: { sinks: [{ kind: file, path: ${quote(join(fleetDir, "audit.jsonl"))} }] }
`,
      );
    },
    contexts,
    operatorConfig: async (fleetUrl) => {
      const pair = await issueOperator({ ca, name: "ada" });
      const ada = await writePem({ dir: fleetDir, name: "operator-ada", pair });
      const service = { url: fleetUrl, ca: authority.cert, cert: ada.cert, key: ada.key };
      const all = { current: "demo", contexts: { demo: { fleet: service } } };
      return await write(contexts, `${JSON.stringify(all, undefined, 2)}\n`);
    },
    nodeDir,
    shimConfig: (gatewayUrl, fleetUrl) =>
      write(
        join(shimDir, "shim.yaml"),
        `socket: { path: ${quote(socket)}, mode: "0600" }
gateways: [${quote(gatewayUrl)}]
tls: { cert: ${quote(join(nodeDir, "node.pem"))}, key: ${quote(join(nodeDir, "node.pem"))}, ca: ${quote(join(nodeDir, "ca.pem"))} }
renewal: { url: ${quote(fleetUrl)} }
health: { address: 127.0.0.1, port: 0 }
stateFile: ${quote(join(shimDir, "state.json"))}
`,
      ),
    registry,
    audit,
    keyFile: join(gatewayDir, "keys.json"),
    socket,
    ca: ca.cert,
    otherCluster: await issueNode({ ca, cluster: other, node }),
    stranger: await issueNode({ ca: foreignCa, cluster: ours, node }),
  };
}
