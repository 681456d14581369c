// Error texts that no row of this folder produces: where they are produced instead, or why nothing can.

export type Exception = {
  readonly file: string;
  /** Parts of the texts; `*`: whatever of the file no row has produced. */
  readonly texts: readonly string[];
  /** The test that prints them, from test/. */
  readonly where?: string;
  /** Why not here. */
  readonly why: string;
  /** On some machines a row does produce it. */
  readonly isOfMachine?: boolean;
};

const guard = "a second lock: what reaches it was refused before";
const liar = "takes a plugin that breaks the KMS contract";

export const exceptions: readonly Exception[] = [
  ...["init/command.ts", "init/encryption.ts"].map((file) => ({
    file,
    texts: ["*"],
    why: "takes files of its own",
    where: "unit/gateway/cli/init.test.ts",
  })),
  {
    file: "doctor/bundle.ts",
    texts: ["cannot be written"],
    why: "takes a bundle that is there already",
    where: "real/doctor/site.test.ts",
  },
  {
    file: "oidc/issuer.ts",
    texts: ["are no JWTs", "refuses ("],
    why: "takes an issuer with a user",
    where: "real/control/device.test.ts",
  },
  {
    file: "oidc/session.ts",
    texts: ["is over ("],
    why: "takes an issuer with a user",
    where: "real/control/device.test.ts",
  },
  {
    file: "oidc/issuer.ts",
    texts: ["names a page that is no"],
    why: "takes an issuer that names such a page",
    where: "unit/gateway/cli/issuer.test.ts",
  },
  {
    file: "console/command.ts",
    texts: ["serves no console"],
    why: "takes a fleet service",
    where: "real/control/console-proxy.test.ts",
  },
  { file: "oidc/loopback.ts", texts: ["nobody has logged in within"], why: "five minutes of nobody" },
  {
    file: "backend-failure.ts",
    texts: ["no cause is known", "unknown error"],
    why: "an error that has no cause of its own",
  },
  {
    file: "backend-failure.ts",
    texts: ["does not answer in time"],
    why: "fifteen seconds of silence in the middle of vault init; the row of a silent Vault is its sibling",
  },
  { file: "backend-failure.ts", texts: ["does not take the request"], why: guard },
  {
    file: "file-problem.ts",
    texts: ["its file system is read-only", "the disk is full", "the user's quota", "too many files open"],
    why: "the machine's own limits",
    where: "unit/gateway/cli/outside.test.ts",
  },
  {
    file: "outside.ts",
    texts: ["there is no way to that address", "a firewall, or the address is wrong"],
    why: "takes a network that drops packets",
    where: "unit/gateway/cli/outside.test.ts",
  },
  {
    file: "outside.ts",
    texts: ["the name server does not answer", "there is no host of that name"],
    why: "one or the other, by the machine's resolver",
    where: "unit/gateway/cli/outside.test.ts",
    isOfMachine: true,
  },
  { file: "file-problem.ts", texts: ["unknown error"], why: "an error of the system without a code" },
  { file: "file-problem.ts", texts: ["this user may not"], why: "root may", isOfMachine: true },
  {
    file: "probe.ts",
    texts: ["no permission", "run this as"],
    why: "root may",
    where: "unit/gateway/cli/check.test.ts",
    isOfMachine: true,
  },
  {
    file: "probe.ts",
    texts: ["cannot be looked at", "check the path and the file system", "connecting failed", "look at the shim's log"],
    why: "codes of the system that nobody has met",
  },
  {
    file: "probe.ts",
    texts: ["the socket takes no connection", "hangs or is stopped"],
    why: "a full backlog",
    where: "unit/gateway/cli/check.test.ts",
  },
  {
    file: "registry/edit/directory.ts",
    texts: ["for life", "cannot be removed"],
    why: "a registry in a directory",
    where: "unit/gateway/core/registry/contract.test.ts",
  },
  {
    file: "registry/edit/documents.ts",
    texts: ["for life", "went back from"],
    why: "several who edit at the same time",
    where: "unit/gateway/cli/registry-upgrade.test.ts",
  },
  {
    file: "registry/edit/error.ts",
    texts: ["was changed at the same time"],
    why: "takes two editors",
    where: "real/registry/vault.test.ts",
  },
  {
    file: "registry/edit/upgrade.ts",
    texts: ["there is no registry yet", "there are an index and a document", "was changed at the same time"],
    why: "a move that is interrupted or disturbed",
    where: "unit/gateway/cli/registry-upgrade.test.ts",
  },
  {
    file: "fleet-client.ts",
    texts: ["refuses"],
    why: "takes a fleet service",
    where: "real/control/enrollment.test.ts",
  },
  {
    file: "fleet-client.ts",
    texts: ["is not available"],
    why: "takes a fleet service that ends",
    where: "real/control/approvals.test.ts",
  },
  {
    file: "fleet-watch-command.ts",
    texts: ["has ended the stream"],
    why: "the service gives a reason with each end; something between might not",
  },
  { file: "fleet-client.ts", texts: ["does not answer in time"], why: "twenty seconds of silence" },
  ...[
    { file: "cluster/service.ts", texts: ["gives no cluster in its answer"] },
    { file: "key/editor.ts", texts: ["gives no key in its answer"] },
  ].map((one) => ({ ...one, why: "takes a fleet service of another release" })),
  {
    file: "cluster/direct.ts",
    texts: ["was changed since you looked at it"],
    why: "takes two who edit",
    where: "unit/gateway/cli/run.test.ts",
  },
  {
    file: "cluster/move-commands.ts",
    texts: ["not all records can be used"],
    why: "takes a fleet service that has read a record before it became bad",
    where: "unit/gateway/fleet/cluster-cli.test.ts",
  },
  { file: "rules.ts", texts: ["*"], why: liar, where: "unit/gateway/cli/check.test.ts" },
  { file: "check.ts", texts: ["*"], why: liar, where: "unit/gateway/cli/check.test.ts" },
  { file: "fleet.ts", texts: ["keeps no documents"], why: "the configuration of a gateway is refused before" },
  {
    file: "vault/carry-out.ts",
    texts: ["the policy would lose"],
    why: "takes a Vault that is in use",
    where: "real/cli/vault-changes.test.ts",
  },
  {
    file: "vault/gateway-init.ts",
    texts: ["keys are as they were"],
    why: "takes a Vault that is in use",
    where: "real/cli/vault-changes.test.ts",
  },
  {
    file: "fleet.ts",
    texts: ["there is no backend"],
    why: "a wrap in etcd that names a backend of another fleet",
    where: "unit/gateway/cli/usage.test.ts",
  },
  { file: "gateway-word.ts", texts: ["*"], why: "takes gateways that run", where: "real/registry/word.test.ts" },
  {
    file: "key/changes.ts",
    texts: ["an older version was set at the same time"],
    why: "takes two promoters within one call",
  },
  {
    file: "registry/edit/text.ts",
    texts: ["'clusters' is not a list", "has no key in the registry", "has no state of its own", "written in a way"],
    why: guard,
  },
  {
    file: "registry/edit/source.ts",
    texts: ["you may not give it to them"],
    why: "takes root and another owner",
    where: "unit/gateway/cli/registry-edit.test.ts",
  },
  { file: "registry/edit/source.ts", texts: ["cannot be written"], why: "root may", isOfMachine: true },
  {
    file: "usage/bbolt.ts",
    texts: ["*"],
    why: "takes files that are damaged page by page",
    where: "real/retire/sources.test.ts",
  },
  {
    file: "usage/snapshot.ts",
    texts: ["a revision of another form", "an entry that does not parse"],
    why: "takes files that are damaged page by page",
    where: "real/retire/sources.test.ts",
  },
  {
    file: "usage/etcd.ts",
    texts: ["for other names"],
    why: "takes a name of this machine that its certificate lacks",
    where: "real/retire/sources.test.ts",
  },
  {
    file: "usage/etcd.ts",
    texts: [
      "it is kine",
      "no etcd v3 API",
      "it was compacted",
      "it refuses (",
      "and gives nothing",
      "not one of etcd's v3 API",
    ],
    why: "takes another server than etcd",
    where: "unit/gateway/cli/usage.test.ts",
  },
  {
    file: "usage/etcd.ts",
    texts: ["no answer in", "unexpected error"],
    why: "thirty seconds of silence; an error that gRPC does not have",
  },
  {
    file: "retirement/reasons.ts",
    texts: ["*"],
    why: "takes objects in etcd and nodes in Redis",
    where: "unit/gateway/cli/retirement.test.ts",
  },
];
