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

const gateway: Readonly<Record<string, Entry>> = {
  "gateway.config": { what: "gateway.yaml can be read, and each setting is one", row: /^configuration$/ },
  "gateway.clock": { what: "this machine's clock against the time that each Vault says" },
  "gateway.dns": { what: "the names of Vaults and Redis have addresses, and none is of a cluster" },
  "gateway.limits": { what: "as many connections as the configuration wants", row: /^limits$/ },
  "gateway.port": { what: "the listeners have their ports", row: /^(listen|admin)$/ },
  "gateway.tls": { what: "certificate, key and client CAs fit together", row: /^tls$/ },
  "gateway.certificate": { what: "each certificate and CA in use: names, chain, validity", row: /^certificate (\S+)$/ },
  "gateway.secret-files": { what: "nobody but owner and group may read what is secret", row: /^secret files$/ },
  "gateway.vault.address": { what: "each address of a Vault: unsealed, TLS", row: /^backend (\S+ https?:\S+)$/ },
  "gateway.vault.login": { what: "the login, and the token's life and policies", row: /^backend (\S+) login$/ },
  "gateway.vault.rights": { what: "the token may do nothing that no gateway needs", row: /^backend (\S+) rights$/ },
  "gateway.embedded": { what: "the file of an embedded backend", row: /^backend (\S+)$/ },
  "gateway.registry": { what: "the registry, and the issuers that its records name", row: /^registry(?: issuers)?$/ },
  "gateway.serves": { what: "the registry has clusters that this gateway serves", row: /^serves$/ },
  "gateway.key": { what: "a key both ways, and whether it may be promoted", row: /^key of (\S+)$/ },
  "gateway.keys": { what: "keys whose backend could not be asked", row: /^keys$/ },
  "gateway.integrity": { what: "the integrity key signs", row: /^integrity$/ },
  "gateway.redis": { what: "Redis: connection, and each command that is needed", row: /^redis(?: rights)?$/ },
  "gateway.audit": { what: "each audit sink takes records, and has room", row: /^audit (.+)$/ },
  "gateway.tracing": { what: "the collector of traces takes connections", row: /^tracing$/ },
  "gateway.running": { what: "the gateway that runs: readiness, certificates, refused handshakes" },
};

const fleet: Readonly<Record<string, Entry>> = {
  "fleet.config": { what: "fleet.yaml can be read, and each setting is one", row: /^configuration$/ },
  "fleet.clock": { what: "this machine's clock against the time that each Vault says" },
  "fleet.dns": { what: "the names of Vaults, Redis and issuers have addresses" },
  "fleet.port": { what: "the listeners have their ports", row: /^(listen|admin)$/ },
  "fleet.tls": { what: "certificate, key, client CAs and the nodes' trust bundle", row: /^(?:tls|trust bundle)$/ },
  "fleet.certificate": { what: "each certificate and CA in use: names, chain, validity", row: /^certificate (\S+)$/ },
  "fleet.secret-files": { what: "nobody but owner and group may read what is secret", row: /^secret files$/ },
  "fleet.vault.address": { what: "each address of a Vault: unsealed, TLS", row: /^backend (\S+ https?:\S+)$/ },
  "fleet.vault.login": { what: "the login, and the token's life and policies", row: /^backend (\S+) login$/ },
  "fleet.embedded": { what: "the file of an embedded backend", row: /^backend (\S+)$/ },
  "fleet.registry": { what: "the registry can be read", row: /^registry$/ },
  "fleet.tokens": { what: "where tokens of nodes are kept: directory, or KV path", row: /^tokens$/ },
  "fleet.approvals": { what: "where requests for approval are kept", row: /^approvals$/ },
  "fleet.integrity": { what: "the integrity key signs", row: /^integrity$/ },
  "fleet.pki": { what: "the authority signs for nodes, by a CA that is trusted", row: /^certificates of nodes$/ },
  "fleet.redis": { what: "Redis: connection, and each command that is needed", row: /^redis(?: rights)?$/ },
  "fleet.audit": { what: "each audit sink takes records, and has room", row: /^audit (.+)$/ },
  "fleet.console": { what: "the console's pages, and the issuer that browsers log in at", row: /^console(?: login)?$/ },
  "fleet.oidc": { what: "each issuer of operators' tokens, and its keys" },
  "fleet.running": { what: "the service that runs: readiness, certificates, refused handshakes" },
};

const operator: Readonly<Record<string, Entry>> = {
  "operator.context": { what: "the file of contexts can be read, and has the context" },
  "operator.clock": { what: "this machine's clock against the time that the fleet service says" },
  "operator.dns": { what: "the names of all servers of the context have addresses" },
  "operator.certificate": { what: "the operator's certificate, key and the service's CA: names, chain, validity" },
  "operator.login": { what: "the session at the issuer" },
  "operator.fleet": { what: "the fleet service answers, and knows the operator" },
  "operator.vault": { what: "each Vault of the context: addresses, and the operator's own token" },
  "operator.etcd": { what: "the etcds of each cluster answer, and let the certificate read" },
  "operator.gateway": { what: "the second listener of each gateway of the context" },
};

/** All checks, by what is looked at: a row whose id is not here is a bug. */
export const catalog: Readonly<Record<Part, Readonly<Record<string, Entry>>>> = {
  node,
  gateway,
  fleet,
  operator,
};
