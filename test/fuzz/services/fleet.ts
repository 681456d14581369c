// A fleet service that runs: hostile Connect at its listener, by an administrator, by a node and by nobody.
import { readFileSync } from "node:fs";
import { issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import { contentTypes } from "@claviger/proto/wire/protocol.ts";
import { createPki, writeRegistry } from "../../lab/fleet.ts";
import { startFleetService } from "../../lab/fleet-service.ts";
import { createProcessGroup } from "../../lab/process-group.ts";
import { createSigningRequest } from "../../../shim/src/signing-request.ts";
import { attempt, either, json, protobuf } from "../formats.ts";
import { csrText, unreadableCsr, withCsr } from "./csr.ts";
import { createSpeaker, type Reply, requestFormat, requestOf, type Speaker } from "./http1.ts";
import type { Service } from "./service.ts";

/** As long as a token, and one where something is sent: each is good for one enrollment. */
const tokenPlace = `clvt_${"T".repeat(43)}`;
const callerHeader = "x-fuzz-caller";

const service = "/claviger.fleet.v1.FleetService";
const reason = "a test";
const cluster = "cluster-1";

/** The calls of the service, as somebody who may make them would. */
const calls: readonly (readonly [caller: "operator" | "node" | "nobody", method: string, message: () => object])[] = [
  ["operator", "WhoAmI", () => ({})],
  ["nobody", "GetTrustBundle", () => ({})],
  ["operator", "ListClusters", () => ({ pageSize: 1, pageToken: "a", matchLabels: { team: "blue" } })],
  ["operator", "GetCluster", () => ({ name: cluster })],
  ["operator", "SetClusterState", () => ({ name: cluster, state: "active", reason })],
  ["operator", "CreateNodeToken", () => ({ cluster, node: "node-2", ttlSeconds: 60, reason })],
  [
    "nobody",
    "EnrollNode",
    () => ({
      token: tokenPlace,
      certificateRequest: csrText([`spiffe://lab.claviger.test/cluster/${cluster}/node/node-1`]),
      cluster,
      node: "node-1",
    }),
  ],
  ["nobody", "EnrollNode", () => ({ token: tokenPlace, certificateRequest: createSigningRequest().request })],
  [
    "node",
    "RenewNode",
    () => ({ certificateRequest: csrText([`spiffe://lab.claviger.test/cluster/${cluster}/node/node-1`]) }),
  ],
  [
    "node",
    "RenewNode",
    () => ({ certificateRequest: csrText(["spiffe://lab.claviger.test/cluster/other/node/node-1"]) }),
  ],
  ["node", "RenewNode", () => ({ certificateRequest: unreadableCsr })],
  ["operator", "RevokeNode", () => ({ cluster, node: "gone", reason })],
  ["operator", "RevokeNode", () => ({ cluster, serials: ["0A1B"], reason })],
  ["operator", "AllowNode", () => ({ cluster, serials: ["0A1B"], reason })],
  ["operator", "ListApprovals", () => ({ all: true })],
  ["operator", "GetApproval", () => ({ id: "a" })],
  ["operator", "ApproveChange", () => ({ id: "a" })],
  ["operator", "RejectChange", () => ({ id: "a", reason })],
];

/** A token in protobuf: what a JSON request has, as bytes of its one field. */
const tokenMessage = Buffer.concat([Buffer.from([0x0a, tokenPlace.length]), Buffer.from(tokenPlace)]);

function seeds(): readonly Buffer[] {
  return [
    ...calls.map(([caller, method, message]) =>
      requestOf(
        `${service}/${method}`,
        {
          "content-type": contentTypes.json,
          "connect-protocol-version": "1",
          "connect-timeout-ms": "5000",
          [callerHeader]: caller,
        },
        Buffer.from(JSON.stringify(message())),
      ),
    ),
    requestOf(`${service}/EnrollNode`, { "content-type": contentTypes.proto, [callerHeader]: "nobody" }, tokenMessage),
    requestOf(
      `${service}/GetCluster`,
      { "content-type": contentTypes.proto, [callerHeader]: "operator" },
      Buffer.from(`\n\u0009${cluster}`),
    ),
    requestOf(
      `${service}/GetCluster`,
      { "content-type": contentTypes.json, "content-encoding": "gzip", [callerHeader]: "operator" },
      Buffer.from("{}"),
    ),
  ];
}

/** Connect's code in the body of a refusal. */
function codeOf({ status, body }: Reply): string {
  const { code } = (attempt(() => JSON.parse(body) as unknown) ?? {}) as { readonly code?: string };
  return status === 200 ? "200" : (code ?? String(status));
}

export const fleetService: Service = {
  name: "fleet-listener",
  depths: { "200": 0.05, invalid_argument: 0.05, permission_denied: 0.005, not_found: 0.002 },
  async start(dir) {
    const processes = createProcessGroup(dir);
    const pki = await createPki(dir);
    const registry = writeRegistry(dir, [{ name: cluster, key: cluster }]);
    const fleet = await startFleetService({
      processes,
      dir,
      pki,
      settings: {
        gateways: ["https://gateway.test:8443"],
        registry: { kind: "file", file: registry },
        log: { level: "debug" },
      },
    });
    const { hostname: host, port } = new URL(fleet.url);
    const address = { host, port: Number(port), ca: readFileSync(pki.ca) };
    const node = await pki.node(cluster, "node-1");
    const ada = await issueOperator({ ca: pki.authority, name: "ada" });
    const callers = {
      operator: { cert: ada.cert, key: ada.key.use((key) => key) },
      node: { cert: readFileSync(node.cert), key: readFileSync(node.key) },
      nobody: {},
    } as const;
    const free: Record<keyof typeof callers, Speaker[]> = { operator: [], node: [], nobody: [] };
    const opened: Speaker[] = [];
    const withSpeaker = async <T>(caller: keyof typeof callers, run: (speaker: Speaker) => Promise<T>): Promise<T> => {
      let speaker = free[caller].pop();
      if (speaker === undefined) opened.push((speaker = createSpeaker({ ...address, ...callers[caller] })));
      try {
        return await run(speaker);
      } finally {
        free[caller].push(speaker);
      }
    };
    const call = async (caller: keyof typeof callers, method: string, message: object) => {
      const began = performance.now();
      const body = Buffer.from(JSON.stringify(message));
      // A connection of its own: what was sent on another one may have ended it.
      const speaker = createSpeaker({ ...address, ...callers[caller] });
      const reply = await speaker
        .send(requestOf(`${service}/${method}`, { "content-type": contentTypes.json }, body))
        .finally(() => speaker.close());
      if (reply?.status !== 200) throw new Error(`${method}: ${reply?.status ?? "no reply"} ${reply?.body ?? ""}`);
      return { json: JSON.parse(reply.body) as Readonly<Record<string, string>>, ms: performance.now() - began };
    };
    const tokens: string[] = [];
    const newToken = async (): Promise<number> => {
      const { json: made, ms } = await call("operator", "CreateNodeToken", { cluster, node: "node-1", reason });
      tokens.push(made["token"] ?? "");
      return ms;
    };
    const secrets = (): readonly string[] => tokens.slice(-200);
    return {
      inputs: seeds(),
      format: requestFormat(either(withCsr(json), protobuf)),
      longest: 80 * 1024,
      async send(input) {
        const text = input.toString("latin1");
        const given = new RegExp(`${callerHeader}: (operator|node|nobody)`).exec(text)?.[1] ?? "operator";
        const bytes = Buffer.from(text.replaceAll(tokenPlace, tokens.at(-1) ?? ""), "latin1");
        const reply = await withSpeaker(given as keyof typeof callers, (speaker) => speaker.send(bytes));
        if (reply === undefined) return "nothing";
        const code = codeOf(reply);
        if (code === "internal" || code === "unknown" || reply.status === 500)
          throw new Error(`${reply.status} ${reply.body}`);
        return code;
      },
      async honest() {
        // What hostile administrators may do to the cluster is theirs to do.
        await call("operator", "SetClusterState", { name: cluster, state: "active", reason });
        await call("operator", "AllowNode", { cluster, node: "node-1", reason });
        const create = await newToken();
        const csr = createSigningRequest().request;
        const token = tokens.at(-1);
        const enroll = (await call("nobody", "EnrollNode", { token, certificateRequest: csr })).ms;
        await newToken();
        return { create, enroll, get: (await call("operator", "GetCluster", { name: cluster })).ms };
      },
      watched: [{ proc: fleet.proc, metrics: `${fleet.admin}/metrics`, mostMiB: 512 }],
      secrets,
      audit: { file: fleet.audit, secrets },
      async stop() {
        for (const speaker of opened) speaker.close();
        await processes.stopAll();
      },
    };
  },
};
