// A fleet service over real TLS, with a registry in a file and everything behind it written down.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { pino } from "pino";
import { type Ca, createCa, issueGateway } from "@claviger/gateway-core/src/pki/authority.ts";
import type { NodeCertificates } from "@claviger/gateway-core/src/pki/node-certificates.ts";
import { createRevocationList } from "@claviger/gateway-core/src/pki/x509.ts";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";
import { type Log, silentLog } from "@claviger/proto/runtime/log.ts";
import { issuerName, operatorName, type OperatorName } from "@claviger/proto/wire/names.ts";
import { openRegistry } from "@claviger/gateway-core/src/registry/open.ts";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import type { AuditEntry } from "@claviger/gateway-core/src/audit/record.ts";
import { createApprovals } from "../../../../gateway/fleet/src/approvals/approvals.ts";
import { NeedsApproval } from "../../../../gateway/fleet/src/approvals/gate.ts";
import type { Kind } from "../../../../gateway/fleet/src/approvals/kinds.ts";
import { parsePending, targetOf } from "../../../../gateway/fleet/src/approvals/pending.ts";
import { createPeople } from "../../../../gateway/fleet/src/approvals/people.ts";
import { createStanding, type StandingOf } from "../../../../gateway/fleet/src/approvals/standing.ts";
import { rememberRecords } from "../../../../gateway/fleet/src/audit/memory-records.ts";
import { createCallers } from "../../../../gateway/fleet/src/caller.ts";
import type { IssuerConfig } from "../../../../gateway/fleet/src/oidc/config.ts";
import type { CodeFlow } from "../../../../gateway/fleet/src/oidc/code-flow.ts";
import { createTokenOperators } from "../../../../gateway/fleet/src/oidc/operators.ts";
import type { CallRates, Operators } from "../../../../gateway/fleet/src/config.ts";
import { createEnrollment } from "../../../../gateway/fleet/src/enrollment.ts";
import { createFleetEvents } from "../../../../gateway/fleet/src/events/events.ts";
import { createHistories } from "../../../../gateway/fleet/src/histories/histories.ts";
import { createHour } from "../../../../gateway/fleet/src/histories/hour.ts";
import { createKeyAccess, type KeyAccess } from "../../../../gateway/fleet/src/keys/access.ts";
import { createKeyAges, noKeyAges } from "../../../../gateway/fleet/src/keys/ages.ts";
import { createKeyFacts } from "../../../../gateway/fleet/src/keys/facts.ts";
import { describeKey } from "../../../../gateway/fleet/src/methods/keys.ts";
import { createFleetServer } from "../../../../gateway/fleet/src/http/server.ts";
import { createRates } from "../../../../gateway/fleet/src/rates.ts";
import { createClusterCache } from "../../../../gateway/fleet/src/cluster-cache.ts";
import { anyBackend, findCluster, openRegistryEditor } from "../../../../gateway/fleet/src/open-registry.ts";
import { openOnceDirectory } from "../../../../gateway/fleet/src/once-store.ts";
import type { Sessions } from "../../../../gateway/fleet/src/pages/sessions.ts";
import { createFleetMethods, createFleetStreams } from "../../../../gateway/fleet/src/service.ts";
import { createSightings } from "../../../../gateway/fleet/src/sightings.ts";
import { createSigningRequest } from "../../../../shim/src/signing-request.ts";
import { createFakeRedis, type FakeRedis } from "../core/redis/fakes.ts";
import { openTokenDirectory } from "../../../../gateway/fleet/src/tokens.ts";
import { textOf, writeRegistry } from "./registry-text.ts";
import { type Call, createCall, type Credentials, type Reply } from "./call.ts";
import { callersOf, domain, pemOf, tokenCallersOf } from "./callers.ts";
import { openStream, type StreamReader } from "./stream-client.ts";
import { askPage, createTestSite, type PageAnswer } from "./world-site.ts";
import { audience, ec, ed, issuerUrl, keySet, rsa } from "./issuer.ts";

const day = 86_400_000;
export const integrityKey = Buffer.alloc(32, 7);

export { callersOf, type Credentials, pemOf, type Reply, tokenCallersOf };

export type World = {
  readonly ca: Ca;
  readonly dir: string;
  readonly url: string;
  /** What was signed: CLUSTER/NODE. */
  readonly signed: string[];
  readonly records: AuditEntry[];
  /** Where gateways keep what they know, under `integrityKey`. */
  readonly redis: FakeRedis;
  readonly registry: () => string;
  /** The file of the keys; empty while there is none. */
  readonly keys: () => string;
  /** What is known of the nodes; unknown until a test says it. */
  observe: KeyAccess["observe"];
  readonly call: Call;
  /** Calls a method that answers with a stream. It is closed at the end of the test. */
  readonly open: (
    method: string,
    message: object,
    as: Credentials,
    given?: Readonly<Record<string, string>>,
  ) => StreamReader;
  /** Ends the service. */
  readonly close: () => Promise<void>;
  /** Changes the CAs that sign clients, as the service does when its file changes. */
  readonly trust: (...authorities: readonly Ca[]) => void;
  readonly csr: () => string;
  /** Edits the registry beside the service. */
  readonly edit: (change: (text: string) => string) => void;
  /** Has `anna` ask to resume `blue`. Resolves with the id of the approval. */
  readonly ask: () => Promise<string>;
  /** Of people who have logged in with a browser. */
  readonly sessions: Sessions;
  /** Asks for a page, or posts to one. */
  readonly page: (
    method: string,
    path: string,
    given?: Readonly<Record<string, string>>,
    body?: string,
  ) => Promise<PageAnswer>;
  /** The lines of its log. */
  readonly log: readonly Readonly<Record<string, unknown>>[];
  /** Takes an operator's role away, as far as approvals and sessions are concerned. */
  readonly dismiss: (operator: string) => void;
};

/** What a test wants to be otherwise than usual. */
export type WorldOptions = {
  /** The issuer, as browsers log in at it. */
  readonly flow?: CodeFlow;
  /** What takes a second administrator; nothing where it is absent. */
  readonly needing?: readonly Kind[];
  readonly people?: Readonly<Record<string, readonly string[]>>;
  /** Further operators. */
  readonly operators?: Readonly<Record<string, Operators[OperatorName]>>;
  /** How the registry lies. */
  readonly registry?: "file" | "directory";
  /** Of the keys that encrypt, before there is a warning. */
  readonly maxAgeMs?: number;
  /** Calls a second; so many that no test meets them where it is absent. */
  readonly rates?: CallRates;
  /** The clock of approvals, Unix milliseconds. */
  readonly now?: () => number;
};

export async function startWorld(t: TestContext, options: WorldOptions = {}): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), "fleet-"));
  const config = writeRegistry(dir, options.registry ?? "file");
  const ca = await createCa({ trustDomain: domain });
  const tls = { ...(await pemOf(issueGateway({ ca, ips: ["127.0.0.1"] }))), clientCa: ca.cert };
  const documentsOf = () => {
    throw new Error("no documents here");
  };
  const registry = openRegistryEditor(config, documentsOf);
  const clusters = createClusterCache(
    () => openRegistry({ config, documentsOf, backends: anyBackend, log: silentLog }),
    registry,
  );
  const redis = createFakeRedis();
  const sightings = createSightings({ redis: redis.open(), secret: () => integrityKey });
  const keyFile = join(dir, "keys.json");
  const embedded = { kind: "embedded", file: keyFile } as const;
  const backend = await openBackend({ name: "main", config: embedded, log: silentLog });
  const access = createKeyAccess({
    backends: { main: embedded },
    opened: new Map([["main", backend]]),
    shared: undefined,
    maxAgeMs: options.maxAgeMs,
    facts: createKeyFacts({ redis: redis.open(), secret: () => integrityKey }, sightings),
  });
  let authorities = splitPem(ca.cert);
  const signed: string[] = [];
  const certificates: NodeCertificates = {
    sign(_, { cluster, node }) {
      signed.push(`${cluster}/${node}`);
      return Promise.resolve("a certificate\n");
    },
    async revocationList(serials) {
      const nextUpdate = new Date(Date.now() + day);
      return {
        pem: await createRevocationList({ issuer: ca, serials, thisUpdate: new Date(), nextUpdate }),
        nextUpdate,
      };
    },
  };
  const records: AuditEntry[] = [];
  const { audit, kept } = rememberRecords({
    record: (entry) => {
      records.push(entry);
      return Promise.resolve();
    },
    isHealthy: () => true,
    sinks: () => [],
    signedAt: () => undefined,
    reopen: () => Promise.resolve(),
    close: () => Promise.resolve(),
  });
  const operators: Readonly<Record<string, Operators[OperatorName]>> = {
    vera: { role: "viewer" },
    olga: { role: "operator" },
    bob: { role: "operator", clusters: { matchLabels: { team: "blue" } } },
    ada: { role: "admin" },
    anna: { role: "admin" },
    ...options.operators,
  };
  const corp: IssuerConfig = {
    issuer: issuerUrl,
    audience,
    algorithms: ["RS256", "ES256", "EdDSA"],
    claims: { name: "sub", groups: "groups" },
    lifetime: day,
    keepKeys: 3_600_000,
    operators,
    groups: {
      staff: { role: "viewer" },
      blue: { role: "operator", clusters: { matchLabels: { team: "blue" } } },
      admins: { role: "admin" },
    },
  };
  const oidc = { [issuerName.parse("corp")]: corp };
  /** Those that have a role now: a test takes one away. */
  const standing: Record<string, Operators[OperatorName]> = { ...operators };
  const standingOf: StandingOf = (who, until) => createStanding(() => ({ operators: standing, oidc }))(who, until);
  const twoPersons = {
    needing: new Set(options.needing ?? []),
    approvals: createApprovals({
      store: await openOnceDirectory(join(dir, "approvals"), parsePending),
      ttlSeconds: 3600,
      personOf: createPeople(options.people ?? {}),
      standingOf,
      clusterOf: (name) => findCluster(registry, name),
      log: silentLog,
      ...(options.now && { now: options.now }),
    }),
  };
  const events = createFleetEvents({
    read: async () => [...(await registry.all("empty")).values()],
    sightings,
    lookMs: 100,
  });
  const store = redis.open();
  const hour = createHour({ redis: store, secret: () => integrityKey });
  const tokenOperator = createTokenOperators({
    oidc: () => oidc,
    discover: () => () => Promise.resolve(keySet(rsa, ec, ed)),
    onFailure: () => {},
  });
  const lines: Readonly<Record<string, unknown>>[] = [];
  const log: Log = pino(
    { base: null },
    { write: (line) => void lines.push(JSON.parse(line) as (typeof lines)[number]) },
  );
  const rates = createRates(options.rates ?? { operator: 10_000, node: 10_000, address: 10_000 });
  const { site, sessions } = createTestSite({
    oidc,
    operators,
    standing,
    flow: options.flow,
    tokenOperator,
    shared: { redis: store, secret: () => integrityKey },
    secret: integrityKey,
    audit,
    rates,
    log,
    now: options.now,
  });
  const server = createFleetServer({
    tls,
    callerOf: createCallers({
      trustDomain: domain,
      operators: () => operators,
      clientCa: () => authorities,
      tokenOperator,
      sessionOperator: (cookies) => sessions.operatorOf(cookies),
    }),
    methods: createFleetMethods({
      registry,
      clusters,
      keys: { ...access, observe: (records) => world.observe(records) },
      twoPersons,
      events,
      enrollment: createEnrollment({
        trustDomain: domain,
        tokens: await openTokenDirectory(join(dir, "tokens")),
        certificates,
        lifetimeSeconds: 3600,
        clusterOf: (name) => findCluster(registry, name),
      }),
      sightings,
      certificates: () => [],
      ages:
        options.maxAgeMs === undefined
          ? noKeyAges
          : createKeyAges({ describe: (ref) => describeKey(access, ref), maxAgeMs: options.maxAgeMs }),
      histories: createHistories({ source: { redis: store, secret: () => integrityKey, hour } }),
      audit: { replica: "replica-1", required: true, sinks: () => [], kept },
      trustBundle: () => ca.cert,
      caPin: () => "sha256:00",
      revocationList: certificates.revocationList,
      gateways: ["https://gateway.test:8443"],
      uriOf: (path) => `spiffe://${domain}/${path}`,
    }),
    streams: createFleetStreams(events),
    rates,
    audit,
    site,
    log,
  });
  const port = await server.listen("127.0.0.1", 0);
  const page: World["page"] = (method, path, headers = {}, body = "") =>
    askPage({ port, ca: ca.cert, method, path, headers, body });
  t.after(async () => {
    await server.close();
    events.close();
    hour.close();
    clusters.close();
    await backend.close();
    rmSync(dir, { recursive: true });
  });
  const call = createCall(port, ca.cert);
  const open: World["open"] = (method, message, as, given) => {
    const reader = openStream({ port, ca: ca.cert, method, message, as, given });
    t.after(() => reader.close());
    return reader;
  };
  const world: World = {
    url: `https://127.0.0.1:${port}`,
    ca,
    dir,
    signed,
    records,
    redis,
    registry: () => textOf(config),
    keys: () => (existsSync(keyFile) ? readFileSync(keyFile, "utf8") : ""),
    observe: (records) => access.observe(records),
    call,
    open,
    close: () => server.close(),
    trust: (...next) => {
      authorities = next.flatMap(({ cert }) => splitPem(cert));
    },
    edit(change) {
      if (config.kind !== "file") throw new TypeError("an edit by hand is of the one file");
      writeFileSync(config.file, change(readFileSync(config.file, "utf8")));
    },
    async ask() {
      const [record, anna] = [await registry.one("blue"), standingOf({ operator: operatorName.parse("anna") }, 0)];
      assert.ok(anna);
      const request = JSON.stringify({ name: "blue", state: "active", reason: "a test" });
      const needed = new NeedsApproval(["resume"], [targetOf(record)]);
      const { approval } = await twoPersons.approvals.ask("setClusterState", request, anna, {}, needed);
      return approval?.id ?? "";
    },
    sessions,
    page,
    log: lines,
    dismiss: (operator) => {
      delete standing[operator];
    },
    csr: () => createSigningRequest().request,
  };
  return world;
}
