// The faults of site.test.ts: what is done to a real site, and which alerts that has to fire. What else fires is not
// asked: a fault has more than one consequence.
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { writePem } from "@claviger/gateway-core/src/pki/files.ts";
import { createPki } from "../../lab/fleet.ts";
import { gatewayPolicy } from "../../lab/openbao.ts";
import { until } from "../../lab/process-group.ts";
import { edit, type Fault, gateway, type Round, shim, vault } from "./fault.ts";
import { busy, slowWay, unattended } from "./slow-faults.ts";

const partsAway: readonly Fault[] = [
  {
    how: "Redis is killed",
    alerts: ["ClavigerRedisDown"],
    cause: ({ lab }) => lab.redis && lab.processes.stop(lab.redis.proc()),
    cure: ({ lab }) => lab.redis?.start(),
  },
  {
    how: "a directory stands where a gateway's audit file was",
    alerts: ["ClavigerAuditSinkDown", "ClavigerAuditUnavailable", "ClavigerAuditRecordsMissed"],
    cause(world) {
      const { audit } = gateway(world, 1);
      renameSync(audit, `${audit}.1`);
      mkdirSync(audit);
    },
    cure(world) {
      const { audit } = gateway(world, 1);
      rmSync(audit, { recursive: true });
      renameSync(`${audit}.1`, audit);
    },
  },
  {
    how: "a shim is killed",
    alerts: ["ClavigerNodeSilent"],
    cause: (world) => world.lab.processes.stop(shim(world).proc),
    cure: (world) => world.restart(shim(world).proc),
  },
  {
    how: "a record of the registry names a backend that there is not",
    alerts: ["ClavigerRegistryBad", "ClavigerRegistryStale"],
    cause: (world) => edit(world, (text) => text.replace("backend: main", "backend: nowhere")),
    cure: (world) => edit(world, (text) => text.replace("backend: nowhere", "backend: main")),
  },
];

const sealed: Fault = {
  how: "Vault is sealed",
  alerts: [
    "ClavigerBackendDown",
    "ClavigerBackendAddressDown",
    "ClavigerBackendErrors",
    "ClavigerDecryptBudgetBurnsFast",
    "ClavigerStatusBudgetBurnsFast",
    "ClavigerNodeInOutage",
    "ClavigerNodeUnready",
    "ClavigerDecryptBudgetBurnsSlowly",
    "ClavigerStatusBudgetBurnsSlowly",
  ],
  cause: (world) => vault(world).call("PUT", "sys/seal"),
  cure: (world) => vault(world).unseal(),
};

const gatewaysKilled: readonly Fault[] = [
  {
    how: "one of two gateways is killed",
    alerts: ["ClavigerGatewayDown", "ClavigerGatewayUnreachable"],
    cause: (world) => world.lab.processes.stop(gateway(world, 1).proc, 0),
  },
  {
    how: "the other one as well",
    alerts: ["ClavigerNoGateway"],
    cause: (world) => world.lab.processes.stop(gateway(world, 0).proc, 0),
    async cure(world) {
      for (const i of [0, 1]) await world.restart(gateway(world, i).proc);
    },
  },
];

const key = "transit/keys/cluster-1";
const decided: readonly Fault[] = [
  {
    how: "a cluster is suspended, and its node goes on asking",
    alerts: ["ClavigerRefusedCalls"],
    cause: (world) => edit(world, (text) => text.replace(/(name: cluster-2[\s\S]*?state: )active/, "$1suspended")),
    cure: (world) => edit(world, (text) => text.replace("state: suspended", "state: active")),
  },
  {
    how: "a node comes with a certificate of another CA",
    alerts: ["ClavigerGatewayHandshakesFail", "ClavigerShimHandshakesFail"],
    async cause(world) {
      const { lab } = world;
      const other = join(lab.dir, "other");
      mkdirSync(other);
      // It trusts the gateways; they do not trust it.
      await world.addShim("stranger", { pki: { ...(await createPki(other)), ca: lab.pki.ca } });
    },
    cure: (world) => world.forgetAdded(),
  },
  {
    how: "min_decryption_version is lowered",
    alerts: ["ClavigerKeyVersionReopened"],
    async cause(world) {
      const bao = vault(world);
      const { prometheus } = world;
      const config = (minimum: number) => bao.call("POST", `${key}/config`, { min_decryption_version: minimum });
      const promoted = async (): Promise<true | undefined> => {
        const found = await prometheus.query(
          'min(claviger_gateway_key_promoted_version{key="transit/cluster-1"}) >= 2',
        );
        return found.length > 0 ? true : undefined;
      };
      await bao.call("POST", `${key}/rotate`, {});
      await until("the promotion", undefined, promoted);
      await config(2);
      // As often as gateways read keys.
      await new Promise((resolve) => setTimeout(resolve, 3000));
      await config(1);
    },
    cure: (world) => vault(world).call("POST", `${key}/config`, { min_decryption_version: 2 }),
  },
  {
    how: "gateways may no longer promote, and a key is rotated",
    alerts: ["ClavigerKeyNotPromoted"],
    async cause(world) {
      const policy = gatewayPolicy(["cluster-1", "cluster-2"]).replaceAll(/^.*\/config".*$/gm, "");
      await vault(world).call("PUT", "sys/policies/acl/claviger-gateway", { policy });
      await vault(world).call("POST", "transit/keys/cluster-2/rotate", {});
    },
    async cure(world) {
      const policy = gatewayPolicy(["cluster-1", "cluster-2"]);
      await vault(world).call("PUT", "sys/policies/acl/claviger-gateway", { policy });
    },
  },
];

/** Seconds; a fifth of it has to be longer than the fifteen that the alert waits for. */
const life = 105;
const certificate: Fault = {
  how: "nobody renews a node's certificate",
  alerts: ["ClavigerCertificateEnds", "ClavigerCertificateExpired"],
  async cause(world) {
    const { pki, dir } = world.lab;
    const short = async (cluster: string, node: string) =>
      await writePem({
        dir: join(dir, "pki"),
        name: node,
        pair: await issueNode({ ca: pki.authority, cluster, node, validity: life / 86_400 }),
      });
    await world.addShim("short-lived", { pki: { ...pki, node: short } });
  },
  cure: (world) => world.forgetAdded(),
};

const login: Fault = {
  how: "the role of the gateways' login is deleted, and their tokens are revoked",
  alerts: ["ClavigerVaultLoginFails"],
  async cause(world) {
    await vault(world).call("DELETE", "auth/approle/role/claviger-gateway");
    await vault(world).call("PUT", "sys/leases/revoke-prefix/auth/approle");
  },
};

export const rounds: readonly Round[] = [
  { name: "a part of each kind is away", isShort: true, faults: partsAway },
  { name: "the backend is away", isShort: true, faults: [sealed] },
  { name: "gateways are away", isShort: true, faults: gatewaysKilled },
  { name: "somebody decided something", isShort: false, faults: decided },
  { name: "a certificate ends", isShort: false, faults: [certificate] },
  { name: "it answers, but slowly", isShort: false, faults: [slowWay] },
  { name: "there is too much to do", isShort: false, faults: [busy] },
  { name: "what nobody looks after", isShort: false, faults: unattended },
  { name: "the login is gone", isShort: false, faults: [login] },
];
