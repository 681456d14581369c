// The gateway as a shim sees it: the only one, gone wrong in each way.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createCa } from "@claviger/gateway-core/src/pki/authority.ts";
import { type FaultProxy, html, type ServerPair, startFaultProxy } from "../../lab/fault-proxy.ts";
import { type LabGateway, startGateway, writeRegistry } from "../../lab/fleet.ts";
import { wayIn } from "./behind-proxy.ts";
import { failing, grace } from "./cell.ts";
import { type KmsWorld, startKmsWorld } from "./kms-world.ts";
import { type Cells, describeEdges } from "./suite.ts";
import { longAgo, pairOf } from "./tls.ts";

type GatewayWorld = KmsWorld & {
  readonly proxy: FaultProxy;
  readonly good: ServerPair;
  readonly expired: ServerPair;
  /** Of the same fleet, and knows no cluster of this one. */
  readonly other: LabGateway;
};

const clientCa = (dir: string): string => join(dir, "pki", "client-ca.crt");

async function start(): Promise<GatewayWorld> {
  let port = 0;
  const pair = { cert: "", key: "", ca: "" };
  const proxy = await startFaultProxy({ target: () => port, client: pair });
  const world = await startKmsWorld(
    (dir) => ({
      backend: "embedded",
      redis: false,
      shimExtra: { gateways: [`https://127.0.0.1:${proxy.port}`] },
      gatewayExtra(name) {
        copyFileSync(join(dir, "pki", "ca.crt"), clientCa(dir));
        const files = { cert: join(dir, "pki", `${name}.crt`), key: join(dir, "pki", `${name}.key`) };
        return { tls: { ...files, clientCa: clientCa(dir) } };
      },
      onGateways: ([first]) => (port = Number(new URL(first?.url ?? "").port)),
    }),
    () => proxy.close(),
  );
  const { lab } = world;
  const { cert, key } = await lab.pki.node("cluster-1", "node-1");
  Object.assign(pair, {
    cert: readFileSync(cert, "utf8"),
    key: readFileSync(key, "utf8"),
    ca: readFileSync(lab.pki.ca, "utf8"),
  });
  const dir = join(lab.dir, "gateway-other");
  await mkdir(dir);
  const registry = writeRegistry(dir, [{ name: "stranger", key: "stranger" }]);
  const other = await startGateway({ processes: lab.processes, dir, name: "gateway-other", pki: lab.pki, registry });
  return {
    ...world,
    proxy,
    good: await pairOf(lab.pki.authority),
    expired: await pairOf(lab.pki.authority, longAgo),
    other,
  };
}

const way = wayIn<GatewayWorld>;
/** As an operator who edits the file. */
function edited(change: (text: string) => string) {
  return ({ lab }: GatewayWorld): void => writeFileSync(lab.registry, change(readFileSync(lab.registry, "utf8")));
}
const away = failing("gateway_unavailable");
/** What every edit of a state or of keys does. */
let generation = 0;
function withState(state: string) {
  return edited((text) =>
    text
      .replace(/state: [a-z-]+/, `state: ${state}`)
      .replace(/( +generation: \d+\n)?( +state:)/, `    generation: ${++generation}\n$2`),
  );
}

const cells: Cells<GatewayWorld> = {
  absent: { how: "nothing listens at its address", ...way({ kind: "refuse" }), callers: away },
  slow: { how: "an answer takes 400 ms", ...way({ kind: "slow", ms: 400 }) },
  silent: {
    how: "it takes connections and says nothing",
    ...way({ kind: "silent" }),
    callers: failing("deadline_exceeded"),
  },
  closing: {
    how: "it closes each connection in the middle of an answer",
    ...way({ kind: "close" }),
    callers: away,
    maybe: ["handshake-failed"],
  },
  "refusing everything": {
    how: "its registry says that the cluster is suspended",
    cause: withState("suspended"),
    cure: withState("active"),
    callers: { Status: ["cluster_suspended"], Encrypt: ["cluster_suspended"], Decrypt: ["cluster_suspended"] },
    end: "once the cluster is active",
  },
  "refusing one operation": {
    how: "a proxy before it answers 503 to each Encrypt",
    ...way(({ good }) => ({
      kind: "answer",
      pair: good,
      answer: ({ path }) => (path.endsWith("/Encrypt") ? { status: 503, body: "" } : undefined),
    })),
    callers: { Encrypt: ["gateway_unavailable"] },
    restless: { readyz: { "shim gateway": "status 503, from such an answer until the next probe" }, metrics: {} },
  },
  "answering from an older state": {
    how: "it is restarted on a registry from before the last edit",
    cause: async (world) => {
      await world.restartGateway({
        meanwhile: () => edited((text) => text.replace(/generation: \d+/, "generation: 1"))(world),
      });
    },
    cure: (world) => edited((text) => text.replace(/generation: \d+/, `generation: ${generation}`))(world),
    callers: failing("gateway_behind"),
    atFirst: ["gateway_unavailable"],
    end: "once the newest registry is there",
  },
  "answering nonsense": {
    how: "it answers 200 and a page of HTML to all",
    ...way(({ good }) => ({ kind: "answer", pair: good, answer: () => html })),
    callers: away,
  },
  "answering for somebody else": {
    how: "a gateway of the same fleet that has another registry is at its address",
    ...way(({ other }) => ({ kind: "other", port: Number(new URL(other.url).port) })),
    callers: { Status: ["cluster_unknown"], Encrypt: ["cluster_unknown"], Decrypt: ["cluster_unknown"] },
  },
  full: {
    how: "the cluster has used up its requests (`limits.requestsPerSecond: 1`)",
    cause: edited((text) => text.replace(/( +)state:/, "$1limits: { requestsPerSecond: 1 }\n$1state:")),
    cure: edited((text) => text.replace(/ +limits: .*\n/, "")),
    callers: { Status: ["ok", grace], Encrypt: ["ok", "overloaded"], Decrypt: ["ok", "overloaded"] },
  },
  "read-only": {
    how: "its registry says that the cluster may only decrypt",
    cause: withState("decrypt-only"),
    cure: withState("active"),
    callers: { Status: ["cluster_decrypt_only"], Encrypt: ["cluster_decrypt_only"] },
    end: "once the cluster is active",
  },
  "credentials changed": {
    how: "it trusts another client CA",
    cause: async ({ lab }) => writeFileSync(clientCa(lab.dir), (await createCa({ trustDomain: "other.test" })).cert),
    cure: ({ lab }) => copyFileSync(lab.pki.ca, clientCa(lab.dir)),
    callers: away,
    repeated: { "connection-distrusted": "for each connection" },
    end: "once it trusts the CA of the node's certificate",
  },
  "certificate expired or replaced": {
    how: "it shows a certificate that has expired",
    ...way(({ expired }) => ({ kind: "certificate", pair: expired })),
    callers: away,
  },
  "clock wrong": {
    how: "it is restarted with a clock that is two days ahead",
    cause: async (world) =>
      await world.restartGateway({
        argv: ([node = "", ...rest]) => [
          node,
          "--import",
          join(import.meta.dirname, "..", "..", "lab", "wrong-clock.ts"),
          ...rest,
        ],
        env: { CLAVIGER_TEST_CLOCK_MS: String(2 * 86_400_000) },
      }),
    cure: (world) => world.restartGateway(),
    atFirst: ["gateway_unavailable"],
    end: "by itself; the records of the time have the wrong one",
  },
};

describeEdges({ dependency: "Gateway, as the shim sees it", start, cells, sample: ["absent"] });
