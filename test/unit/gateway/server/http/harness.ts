import { type TestContext } from "node:test";
import { createAuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { AuditEntry } from "@claviger/gateway-core/src/audit/record.ts";
import type { AuditSink } from "@claviger/gateway-core/src/audit/port.ts";
import { createMethods } from "@claviger/gateway-server/src/http/methods.ts";
import { defaultListenLimits, type ListenLimits } from "@claviger/gateway-server/src/http/limits.ts";
import { createKmsHttpServer } from "@claviger/gateway-server/src/http/server.ts";
import { type NodeReports, noNodeReports } from "@claviger/gateway-core/src/redis/node-reports.ts";
import type { ClusterRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Serves } from "@claviger/gateway-core/src/registry/labels.ts";
import type { RegistryStore } from "@claviger/gateway-core/src/registry/port.ts";
import { createAdmission } from "@claviger/gateway-server/src/kms/admission.ts";
import { createOverload, type Overload } from "@claviger/gateway-server/src/kms/overload.ts";
import type { KmsService } from "@claviger/gateway-server/src/kms/service.ts";
import { createMetrics, type Metrics } from "@claviger/gateway-server/src/metrics.ts";
import { type Ca, createCa, issueGateway, issueNode, type KeyPair } from "@claviger/gateway-core/src/pki/authority.ts";
import type { TlsFiles } from "@claviger/gateway-core/src/tls-files.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { trustDomain } from "@claviger/proto/wire/names.ts";
import { Agent, request } from "undici";
import { createFakeSink } from "../../core/audit/fakes.ts";
import { cluster, silent } from "../../fakes.ts";

export const ca: Ca = await createCa({ trustDomain: "fleet.test" });
export async function pem(pair: Promise<KeyPair>): Promise<{ readonly cert: string; readonly key: string }> {
  const { cert, key } = await pair;
  return { cert, key: key.use((text) => text) };
}
export const gatewayPair = await pem(issueGateway({ ca, ips: ["127.0.0.1"] }));
export const nodePair = await pem(issueNode({ ca, cluster: "prod", node: "cp-1" }));

export type Line = Omit<AuditEntry, "at"> & { readonly time: string; readonly sequence: number };

/** A service that "encrypts" by reversing: the routes are what is tested here. */
const reverse: KmsService["encrypt"] = (call, plaintext) => {
  call.fields.keyId = "kid";
  return Promise.resolve({ ciphertext: Buffer.from(plaintext).reverse(), keyId: "kid" });
};
export const reversing: KmsService = {
  status: (call) => {
    call.onEpoch([1, 2, 3]);
    return Promise.resolve({ healthz: "ok", keyId: "kid" });
  },
  encrypt: reverse,
  encryptAll: (items) =>
    Promise.all(
      items.map(async ({ call, plaintext }) =>
        plaintext[0] === 0xff
          ? { ok: false, error: new KmsError("key_unusable") }
          : { ok: true, value: await reverse(call, plaintext) },
      ),
    ),
  decrypt: async (_call, ciphertext) => {
    if (ciphertext[0] === 0xff) throw new KmsError("ciphertext_invalid");
    return Buffer.from(ciphertext).reverse();
  },
};

export function registryOf(records: readonly ClusterRecord[]): RegistryStore {
  return {
    get: (name) => records.find((record) => record.name === name),
    load: () => undefined,
    known: () => records,
    using: () => records,
    version: () => undefined,
    problem: () => undefined,
    refresh: () => Promise.resolve(),
    close: () => {},
  };
}

export async function start(
  t: TestContext,
  {
    service = reversing,
    sink,
    records = [cluster()],
    registry = registryOf(records),
    serves = () => true,
    limits = defaultListenLimits,
    metrics = createMetrics(),
    tls = { ...gatewayPair, clientCa: ca.cert },
    trustedProxies = [],
    nodes = noNodeReports,
    log = silent,
    overload = createOverload(),
  }: {
    overload?: Overload;
    tls?: TlsFiles;
    trustedProxies?: readonly string[];
    nodes?: NodeReports;
    log?: Log;
    service?: KmsService;
    sink?: AuditSink;
    registry?: RegistryStore;
    serves?: Serves;
    metrics?: Metrics;
    records?: readonly ClusterRecord[];
    limits?: ListenLimits;
  } = {},
) {
  const memory = createFakeSink<Line>();
  const audit = createAuditLog({ sinks: [sink ?? memory], required: true, log: silent });
  const server = createKmsHttpServer({
    tls,
    trustedProxies,
    trustDomain: trustDomain.parse("fleet.test"),
    limits,
    admission: createAdmission({ registry, serves }),
    overload,
    methods: createMethods(service, "0.0.0"),
    audit,
    nodes,
    metrics,
    log,
  });
  const port = await server.listen("127.0.0.1", 0);
  const agent = new Agent({ allowH2: false, connect: { ca: ca.cert, ...nodePair } });
  t.after(async () => {
    await agent.destroy();
    await server.close();
  });
  const base = `https://127.0.0.1:${port}`;
  const post = async (
    path: string,
    body: Uint8Array | string,
    headers: Record<string, string> = {},
    dispatcher: Agent = agent,
  ) => {
    const reply = await request(`${base}${path}`, {
      method: "POST",
      dispatcher,
      body,
      headers: { "content-type": "application/proto", ...headers },
    });
    return { status: reply.statusCode, headers: reply.headers, body: Buffer.from(await reply.body.arrayBuffer()) };
  };
  return { base, post, lines: memory.records, server, port, agent };
}
