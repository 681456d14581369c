// Every check of `claviger doctor`, by its id: what it looks at. An id stays for as long as there is such a check.
// docs/reference/doctor.md is generated from this table.

export const parts = ["node", "gateway", "fleet", "operator"] as const;
export type Part = (typeof parts)[number];

type Entry = {
  /** What is looked at. */
  readonly what: string;
  /** The rows of the program's own `--check` that are this one; a group names which of several. */
  readonly row?: RegExp;
};

const node: Readonly<Record<string, Entry>> = {
  "node.config": { what: "shim.yaml can be read, and each setting is one", row: /^configuration$/ },
  "node.clock": { what: "this machine's clock against the time that each gateway says" },
  "node.dns": { what: "the names of the gateways have addresses, without the cluster's own name server" },
  "node.tls": { what: "certificate, key and CA of the shim fit together and name a node", row: /^tls$/ },
  "node.certificate": { what: "the shim's certificate: names, chain, validity", row: /^certificate client$/ },
  "node.gateway-ca": { what: "the CA that gateways are verified by: validity", row: /^certificate gateway_ca$/ },
  "node.secret-files": { what: "nobody but owner and group may read the key", row: /^secret files$/ },
  "node.renewal": { what: "the certificate's file can be replaced by its successor", row: /^renewal$/ },
  "node.gateway.connect": { what: "each gateway: connection, TLS, both certificates", row: /^gateway (\S+)$/ },
  "node.gateway.encrypt": { what: "each gateway encrypts for this cluster", row: /^gateway (\S+) cluster$/ },
  "node.gateway.any": { what: "one of the gateways serves this cluster", row: /^gateways$/ },
  "node.tracing": { what: "the collector of traces takes connections", row: /^tracing$/ },
  "node.state-file": { what: "the file of the last key_id can be written, and is this cluster's", row: /^state file$/ },
  "node.health-port": { what: "the shim's second listener has its port", row: /^health$/ },
  "node.running": { what: "the shim that runs: its own word on certificates and refused handshakes" },
  "node.outage": { what: "the phase of the outage that the shim is in" },
  "node.socket.path": { what: "a start could have the socket's path", row: /^socket$/ },
  "node.socket.live": { what: "a process listens on the socket, which is no file left behind" },
  "node.socket.status": { what: "Status, as kube-apiserver asks for it" },
  "node.socket.encrypt": { what: "Encrypt of 32 random bytes" },
  "node.socket.decrypt": { what: "Decrypt of what was encrypted" },
  "node.socket.owner": { what: "mode and owner of socket and directory are those of the configuration" },
  "node.selinux": { what: "where SELinux enforces: the label of the socket's directory" },
  "node.apiserver.manifest": { what: "the static pod of kube-apiserver can be read" },
  "node.apiserver.flag": { what: "kube-apiserver is given an EncryptionConfiguration" },
  "node.apiserver.config-mount": { what: "that file is mounted into its pod, and is there" },
  "node.apiserver.socket-mount": { what: "the socket's directory is mounted into its pod" },
  "node.apiserver.access": { what: "the user of kube-apiserver may connect to the socket" },
  "node.encryption-config.readable": { what: "the EncryptionConfiguration is one" },
  "node.encryption-config.kms-v1-by-omission": { what: "each kms provider says its apiVersion, and it is v2" },
  "node.encryption-config.endpoint": { what: "a kms provider has the shim's socket as its endpoint" },
  "node.encryption-config.order": { what: "which provider writes: the first one" },
  "node.encryption-config.timeout": { what: "the provider's timeout" },
  "node.encryption-config.name": { what: "names of providers: unique, and the same as before (--before)" },
  "node.encryption-config.identity": { what: "what is stored in the clear can be read while storage is migrated" },
  "node.encryption-config.wildcard": { what: "what a node needs to come up is not encrypted" },
  "node.encryption-config.duplicates": { what: "each resource stands once, and in front of wildcards" },
};

/** All checks, by what is looked at: a row whose id is not here is a bug. */
export const catalog: Readonly<Record<Part, Readonly<Record<string, Entry>>>> = {
  node,
  gateway: {},
  fleet: {},
  operator: {},
};
