// What can go wrong with a dependency, and which dependencies there are: the rows and the sections of
// docs/edges.md.

export const faults = [
  "absent",
  "slow",
  "silent",
  "closing",
  "refusing everything",
  "refusing one operation",
  "answering from an older state",
  "answering nonsense",
  "answering for somebody else",
  "full",
  "read-only",
  "credentials changed",
  "certificate expired or replaced",
  "clock wrong",
] as const;
export type Fault = (typeof faults)[number];

/** In the order of the page. */
export const dependencies = [
  "Vault or OpenBao at one address",
  "Vault or OpenBao, the active node of several",
  "Vault or OpenBao, a standby",
  "Redis, standalone",
  "Gateway, as the shim sees it",
  "Registry, a file",
  "Redis behind Sentinel",
  "Redis Cluster",
  "Registry, in Vault's KV",
  "Audit sink, a file",
  "Audit sink, syslog over TLS",
  "Audit sink, syslog over a unix socket",
  "Collector of traces",
  "Log",
  "DNS",
  "etcd, as `claviger key usage` sees it",
] as const;
export type Dependency = (typeof dependencies)[number];

/** What happened, as the page says it: one cell of its table each. */
export type Row = {
  readonly cause: string;
  readonly callers: string;
  readonly readyz: string;
  readonly log: string;
  readonly metrics: string;
  readonly end: string;
};
export const columns = [
  "cause",
  "callers",
  "readyz",
  "log",
  "metrics",
  "end",
] as const satisfies readonly (keyof Row)[];
export const heads = ["what was done", "callers see", "`/readyz` says", "log, once", "metrics", "how it ends"] as const;
