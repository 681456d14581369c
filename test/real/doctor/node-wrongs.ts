// Nodes that are not well: what is changed of one that is, and the row that says so.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parse, stringify } from "yaml";

/** What the changes are made of. */
export type World = {
  readonly dir: string;
  readonly socket: string;
  readonly gatewayPort: number;
  readonly expired: { readonly cert: string; readonly key: string };
  /** Of a cluster that the registry has not. */
  readonly stranger: { readonly cert: string; readonly key: string };
  /** A copy of the node's key that others may read. */
  readonly openKey: string;
};

export type Files = { shim: string; manifest: string; encryption: string };
/** `env`: in a process of its own. */
export type Run = { readonly args?: readonly string[]; readonly env?: NodeJS.ProcessEnv };

export type Broken = {
  readonly what: string;
  /** Changes the texts of the files, or something of the machine. */
  readonly make: (files: Files, world: World) => Run | void;
  readonly id: string;
  readonly state: "failure" | "warning" | "skipped";
  readonly found: RegExp;
  readonly hint?: RegExp;
};

type Settings = Record<string, Record<string, unknown>>;

const wrongClock = join(import.meta.dirname, "..", "..", "lab", "wrong-clock.ts");

function shimWith(change: (config: Settings, world: World) => unknown): (files: Files, world: World) => void {
  return (files, world) => {
    const config = parse(files.shim) as Settings;
    change(config, world);
    files.shim = stringify(config);
  };
}

export const wrongs: readonly Broken[] = [
  {
    what: "its clock is an hour behind",
    make: () => ({ env: { NODE_OPTIONS: `--import=${wrongClock}`, CLAVIGER_TEST_CLOCK_MS: "-3600000" } }),
    id: "node.clock",
    state: "failure",
    found: /^this machine's clock is 3(?:599|600|601) s behind$/,
    hint: /NTP/,
  },
  {
    what: "a gateway's name is not known",
    make: shimWith((config) => Object.assign(config, { gateways: ["https://gateway.invalid:8443"] })),
    id: "node.dns",
    state: "failure",
    found: /its name is not known|the name server does not answer/,
  },
  {
    what: "a gateway's name is one of the cluster",
    make: shimWith((config) => Object.assign(config, { gateways: ["https://gateway.claviger-system.svc:8443"] })),
    id: "node.dns",
    state: "failure",
    found: /one of a cluster's own name server/,
    hint: /docs\/bootstrap\.md/,
  },
  {
    what: "no gateway listens",
    make: shimWith((config) => Object.assign(config, { gateways: ["https://127.0.0.1:1"] })),
    id: "node.gateway.connect",
    state: "failure",
    found: /ECONNREFUSED/,
    hint: /start it/,
  },
  {
    what: "shim.yaml has a setting that there is not",
    make: shimWith((config) => Object.assign(config, { nonsense: 1 })),
    id: "node.config",
    state: "failure",
    found: /nonsense: no such setting/,
  },
  {
    what: "the certificate cannot be read",
    make: shimWith((config) => Object.assign(config["tls"] ?? {}, { cert: "/nowhere/tls.crt" })),
    id: "node.tls",
    state: "failure",
    found: /cannot be read \(ENOENT\)/,
  },
  {
    what: "the certificate has expired",
    make: shimWith((config, { expired }) => Object.assign(config["tls"] ?? {}, expired)),
    id: "node.certificate",
    state: "failure",
    found: /expired/,
    hint: /renew it/,
  },
  {
    what: "the certificate is of a cluster that the registry has not",
    make: shimWith((config, { stranger }) => Object.assign(config["tls"] ?? {}, stranger)),
    id: "node.gateway.encrypt",
    state: "failure",
    found: /cluster_unknown/,
    hint: /claviger cluster add/,
  },
  {
    what: "everybody may read the key",
    make: shimWith((config, { openKey }) => Object.assign(config["tls"] ?? {}, { key: openKey })),
    id: "node.secret-files",
    state: "warning",
    found: /every user of this machine may read/,
    hint: /chmod o=/,
  },
  {
    what: "the CA of the gateways is another's",
    make: shimWith((config) => Object.assign(config["tls"] ?? {}, { ca: config["tls"]?.["cert"] })),
    id: "node.gateway.connect",
    state: "failure",
    found: /unknown_ca/,
    hint: /name the CA that signed/,
  },
  {
    what: "the certificate could not be replaced by its successor",
    make: shimWith((config) => {
      Object.assign(config["tls"] ?? {}, { cert: "/nowhere/node.pem", key: "/nowhere/node.pem" });
      Object.assign(config, { renewal: { url: "https://127.0.0.1:1" } });
    }),
    id: "node.renewal",
    state: "failure",
    found: /^\/nowhere cannot be written to/,
  },
  {
    what: "a file is in the way of the socket",
    make: shimWith((config, { openKey }) => Object.assign(config["socket"] ?? {}, { path: openKey })),
    id: "node.socket.path",
    state: "failure",
    found: /exists and is not a socket of ours/,
  },
  {
    what: "the state file cannot be written",
    make: shimWith((config) => Object.assign(config, { stateFile: "/nowhere/state" })),
    id: "node.state-file",
    state: "failure",
    found: /\/nowhere cannot be written to/,
  },
  {
    what: "no collector of traces is there",
    make: shimWith((config) => Object.assign(config, { tracing: { endpoint: "http://127.0.0.1:1/v1/traces" } })),
    id: "node.tracing",
    state: "failure",
    found: /ECONNREFUSED/,
  },
  {
    what: "another program has the shim's second port",
    make: shimWith((config, { gatewayPort }) => Object.assign(config["health"] ?? {}, { port: gatewayPort })),
    id: "node.health-port",
    state: "failure",
    found: /is taken \(EADDRINUSE\) by process/,
    hint: /choose another health\.port/,
  },
  {
    what: "the socket was left behind by a process that was killed",
    make: (files, world) => {
      const path = join(world.dir, "dead.sock");
      const source = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
      spawnSync(process.execPath, ["-e", source]);
      shimWith((config) => Object.assign(config["socket"] ?? {}, { path }))(files, world);
    },
    id: "node.socket.live",
    state: "failure",
    found: /no process listens on the socket; it was left behind/,
    hint: /start claviger-shim/,
  },
  {
    what: "no shim runs",
    make: shimWith((config) => Object.assign(config["health"] ?? {}, { port: 1 })),
    id: "node.running",
    state: "failure",
    found: /^no shim answers at http:\/\/127\.0\.0\.1:1$/,
    hint: /start claviger-shim/,
  },
  {
    what: "the socket has another mode than the configuration says",
    make: shimWith((config) => Object.assign(config["socket"] ?? {}, { mode: "0660" })),
    id: "node.socket.owner",
    state: "failure",
    found: /the socket has mode 0600, and the configuration says 0660/,
    hint: /restart claviger-shim/,
  },
  {
    what: "kube-apiserver runs as a user who may not connect",
    make: (files) => {
      files.manifest = files.manifest.replace(
        "hostNetwork: true",
        "securityContext: { runAsUser: 1001, runAsGroup: 1001 }",
      );
    },
    id: "node.apiserver.access",
    state: "failure",
    found: /user 1001, group 1001\) may not enter the socket's directory/,
    hint: /socket\.group/,
  },
  {
    what: "the manifest has no flag",
    make: (files) => {
      files.manifest = files.manifest.replace("--encryption-provider-config", "--another");
    },
    id: "node.apiserver.flag",
    state: "failure",
    found: /nothing is encrypted/,
    hint: /claviger init/,
  },
  {
    what: "the EncryptionConfiguration is not mounted",
    make: (files) => {
      files.manifest = files.manifest.replace("mountPath: /etc/kubernetes/enc", "mountPath: /etc/elsewhere");
    },
    id: "node.apiserver.config-mount",
    state: "failure",
    found: /lies in no hostPath of the pod/,
  },
  {
    what: "the EncryptionConfiguration is not there",
    make: (files) => {
      files.encryption = "";
    },
    id: "node.apiserver.config-mount",
    state: "failure",
    found: /is not there$/,
  },
  {
    what: "the socket's directory is not mounted",
    make: (files) => {
      files.manifest = files.manifest.replace("mountPath: /run/claviger", "mountPath: /run/other");
    },
    id: "node.apiserver.socket-mount",
    state: "failure",
    found: /no mount of the pod leads from \/run\/claviger\/kms\.sock/,
    hint: /type: Directory/,
  },
  {
    what: "the socket itself is mounted",
    make: (files, { socket }) => {
      files.manifest = files.manifest
        .replace("mountPath: /run/claviger", "mountPath: /run/claviger/kms.sock")
        .replace(`path: ${dirname(socket)}`, `path: ${socket}`);
    },
    id: "node.apiserver.socket-mount",
    state: "failure",
    found: /the pod mounts the socket itself/,
    hint: /mount the directory/,
  },
  {
    what: "the EncryptionConfiguration is none",
    make: (files) => {
      files.encryption = "a: 1\n";
    },
    id: "node.encryption-config.readable",
    state: "failure",
    found: /is no EncryptionConfiguration/,
  },
  {
    what: "the EncryptionConfiguration leaves apiVersion out",
    make: (files) => {
      files.encryption = files.encryption.replace("apiVersion: v2, ", "");
    },
    id: "node.encryption-config.kms-v1-by-omission",
    state: "failure",
    found: /says no apiVersion/,
  },
  {
    what: "the endpoint is another socket",
    make: (files) => {
      files.encryption = files.encryption.replace("/run/claviger/kms.sock", "/run/claviger/other.sock");
    },
    id: "node.encryption-config.endpoint",
    state: "failure",
    found: /no provider has the shim's socket/,
  },
  {
    what: "identity still stands first",
    make: (files) => {
      files.encryption = files.encryption.replace(/( +- kms.*\n)( +- identity.*\n)/, "$2$1");
    },
    id: "node.encryption-config.order",
    state: "warning",
    found: /written in the clear/,
  },
  {
    what: "there is no static pod",
    make: () => ({ args: ["--manifest", "/nowhere/kube-apiserver.yaml"] }),
    id: "node.apiserver.manifest",
    state: "failure",
    found: /cannot be read \(ENOENT/,
  },
  {
    what: "the timeout is a moment",
    make: (files) => {
      files.encryption = files.encryption.replace("timeout: 3s", "timeout: 100ms");
    },
    id: "node.encryption-config.timeout",
    state: "warning",
    found: /a gateway that is slow for a moment/,
    hint: /timeout: 3s/,
  },
  {
    what: "the provider has another name than before",
    make: (files, { dir }) => {
      const before = join(dir, "before.yaml");
      writeFileSync(before, files.encryption.replace("name: claviger", "name: earlier"));
      return { args: ["--before", before] };
    },
    id: "node.encryption-config.name",
    state: "failure",
    found: /provider earlier of the file before is gone/,
    hint: /keep the name earlier/,
  },
  {
    what: "identity went before storage was migrated",
    make: (files, { dir }) => {
      const before = join(dir, "before.yaml");
      writeFileSync(before, files.encryption.replace(/( +- kms.*\n)( +- identity.*\n)/, "$2$1"));
      files.encryption = files.encryption.replace(/ +- identity.*\n/, "");
      return { args: ["--before", before] };
    },
    id: "node.encryption-config.identity",
    state: "failure",
    found: /there is no identity, and the file before wrote in the clear/,
    hint: /add identity/,
  },
  {
    what: "the file of before cannot be read",
    make: () => ({ args: ["--before", "/nowhere/before.yaml"] }),
    id: "node.encryption-config.readable",
    state: "failure",
    found: /^\/nowhere\/before\.yaml cannot be read \(ENOENT/,
  },
  {
    what: "everything is encrypted",
    make: (files) => {
      files.encryption = files.encryption.replace(/resources: \[secrets\]/, 'resources: ["*.*"]');
    },
    id: "node.encryption-config.wildcard",
    state: "warning",
    found: /a shim in a DaemonSet never starts/,
    hint: /docs\/bootstrap\.md/,
  },
  {
    what: "Secrets stand twice",
    make: (files) => {
      files.encryption = files.encryption.replace(/resources: \[secrets\]/, "resources: [secrets, secrets]");
    },
    id: "node.encryption-config.duplicates",
    state: "failure",
    found: /secrets stands twice in one list: kube-apiserver does not start/,
    hint: /name each resource once/,
  },
];
