// `claviger-shim --check` in worlds that are right and wrong: for each wrong one the row that says so, in
// which words, and with which status. Against a real gateway.
import assert from "node:assert/strict";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { newClusterUid } from "@claviger/gateway-core/src/registry/edit/uid.ts";
import { stringify } from "yaml";
import { type Lab, startLab } from "../../lab/lab.ts";
import { freePorts, readyLine } from "../../lab/process-group.ts";
import { createAuthority, createLeaf, type Pem } from "../../unit/certificates.ts";
import { withServer } from "./gateway-world.ts";
import { type Row, rowsOf, runToEnd } from "./programs.ts";

const day = 24 * 3_600_000;
const node = "spiffe://lab.claviger.test/cluster/cluster-1/node/node-1";

type Change = Readonly<Record<string, unknown>>;

type Wrong = {
  readonly what: string;
  /** The row that says so; GATEWAY stands for the gateway's URL. */
  readonly row: string;
  readonly says: RegExp;
  readonly verdict?: "warning";
  /** Rows beside it that follow from it, with their verdict. */
  readonly also?: readonly (readonly [string, string])[];
  /** What a start says where it cannot work. */
  readonly start?: RegExp;
  readonly make: (site: Site, use: (change: Change) => Promise<void>) => Promise<void>;
};

type Site = {
  readonly dir: string;
  readonly lab: Lab;
  readonly url: string;
  readonly put: (name: string, text: string) => string;
  /** Settings that show this pair. */
  readonly showing: (pair: Pem) => Change;
};

const set =
  (change: (site: Site) => Change | Promise<Change>): Wrong["make"] =>
  async (site, use) =>
    await use(await change(site));

async function ofNode({ lab }: Site, change: Partial<Parameters<typeof createLeaf>[0]> = {}): Promise<Pem> {
  const notAfter = Date.now() + 90 * day;
  return await createLeaf({ issuer: lab.pki.authority, use: "client", uri: node, notAfter, ...change });
}
const noTry = [["gateway GATEWAY", "not tried"]] as const;
const ofCluster = (name: string): Wrong["make"] =>
  set(async (site) => site.showing(await ofNode(site, { uri: node.replace("cluster-1", name) })));

const wrongs: readonly Wrong[] = [
  {
    what: "the socket's directory is missing",
    row: "socket",
    says: /^the directory \/nowhere does not exist; make it, or choose another path$/,
    start: /the directory \/nowhere does not exist/,
    make: set(({ dir }) => ({ socket: { path: "/nowhere/kms.sock" }, stateFile: join(dir, "state") })),
  },
  {
    what: "a file stands where the socket is to be",
    row: "socket",
    says: /^\S+ exists and is not a socket of ours; move it away/,
    start: /exists and is not a socket of ours/,
    make: set(({ put, dir }) => ({ socket: { path: put("file", "x") }, stateFile: join(dir, "state") })),
  },
  {
    what: "every user may replace the socket",
    row: "socket",
    says: /^every user of this machine may put another socket into \S+ \| what to do: chmod o-w/,
    verdict: "warning",
    make: set(({ dir }) => {
      mkdirSync(join(dir, "open"));
      // The mode of a directory that is made is less the umask.
      const before = process.umask(0);
      mkdirSync(join(dir, "open", "run"), { mode: 0o777 });
      process.umask(before);
      return { socket: { path: join(dir, "open", "run", "kms.sock") } };
    }),
  },
  {
    what: "the health port is taken",
    row: "health",
    says: /^127\.0\.0\.1:\d+ is taken \(EADDRINUSE\) by process \d+, \S+.* \| what to do: choose another health\.port/,
    start: /EADDRINUSE/,
    make: (_site, use) =>
      withServer(
        0,
        () => {},
        (port) => use({ health: { port } }),
      ),
  },
  {
    what: "the key is another certificate's",
    row: "tls",
    says: /^tls\.key: \S+ does not belong to the certificate$/,
    also: noTry,
    start: /does not belong to the certificate/,
    make: set(async (site) => site.showing({ ...(await ofNode(site)), key: (await ofNode(site)).key })),
  },
  {
    what: "the certificate is missing",
    row: "tls",
    says: /^tls\.cert: \/nowhere\/tls\.crt cannot be read \(ENOENT\)$/,
    also: noTry,
    start: /tls\.cert: \/nowhere\/tls\.crt cannot be read/,
    make: set(() => ({ tls: { cert: "/nowhere/tls.crt" } })),
  },
  {
    what: "the certificate names no node",
    row: "tls",
    says: /^tls\.cert: \S+ names no node; it needs the URI name/,
    also: noTry,
    start: /names no node/,
    make: set(async (site) => site.showing(await ofNode(site, { uri: "spiffe://lab.claviger.test/gateway" }))),
  },
  {
    what: "the certificate has expired",
    row: "gateway GATEWAY",
    says: /^the gateway refuses this shim's certificate: certificate_expired, .* \| what to do: renew the certificate$/,
    also: [["certificate client", "failed"]],
    make: set(async (site) =>
      site.showing(await ofNode(site, { notAfter: Date.now() - day, notBefore: Date.now() - 2 * day })),
    ),
  },
  {
    what: "the gateway does not know the CA of the certificate",
    row: "gateway GATEWAY",
    says: /^the gateway refuses this shim's certificate: unknown_ca, .* \| what to do: name the CA that signed/,
    make: set(async (site) => site.showing(await ofNode(site, { issuer: await createAuthority("other") }))),
  },
  {
    what: "the gateway's certificate is of another CA",
    row: "gateway GATEWAY",
    says: /^the gateway's certificate is refused: unknown_ca, .* \| what to do: name the CA that signed/,
    make: set(async ({ put }) => ({
      tls: { ca: put("other-ca.crt", (await createAuthority("other", undefined, Date.now() + 3650 * day)).cert) },
    })),
  },
  {
    what: "the gateway's certificate is for another name",
    row: "gateway GATEWAY",
    says: /^the gateway's certificate is refused: wrong_name, .* \| what to do: give the address by a name/,
    make: set(() => ({ tls: { serverName: "gateway.example" } })),
  },
  {
    what: "no gateway listens there",
    row: "gateway https://127.0.0.1:1",
    says: /^nothing listens there \(ECONNREFUSED\) \| what to do: start it/,
    make: set(() => ({ gateways: ["https://127.0.0.1:1"] })),
  },
  {
    what: "the gateway's name is not known",
    row: "gateway https://gateway.invalid:8443",
    says: /^(?:its name is not known \(ENOTFOUND\)|the name server does not answer \(EAI_AGAIN\)) \| /,
    make: set(() => ({ gateways: ["https://gateway.invalid:8443"] })),
  },
  {
    what: "what listens there speaks no TLS",
    row: "gateway https://127.0.0.1:PORT",
    says: /refused: protocol, .* \| what to do: see whether both ends speak TLS/,
    make: async (_site, use) => {
      const plain = createServer((_, reply) => reply.end("hello"));
      await new Promise<void>((resolve) => void plain.listen(0, "127.0.0.1", resolve));
      const { port } = plain.address() as { readonly port: number };
      await use({ gateways: [`https://127.0.0.1:${port}`] }).finally(() => void plain.close());
    },
  },
  {
    what: "the gateway takes connections and says nothing",
    row: "gateway https://127.0.0.1:PORT",
    says: /^no answer within 5 s \| /,
    make: (_site, use) =>
      withServer(
        0,
        () => {},
        (port) => use({ gateways: [`https://127.0.0.1:${port}`] }),
      ),
  },
  {
    what: "the cluster is not in the registry",
    row: "gateway GATEWAY cluster",
    says: /cluster_unknown.* \| what to do: add it: claviger cluster add/,
    make: ofCluster("stranger"),
  },
  {
    what: "the cluster is suspended",
    row: "gateway GATEWAY cluster",
    says: /cluster_suspended.* \| what to do: resume it once you know why/,
    make: ofCluster("suspended"),
  },
  {
    what: "the cluster may only decrypt",
    row: "gateway GATEWAY cluster",
    says: /cluster_decrypt_only.* \| what to do: make it active/,
    make: ofCluster("decrypt-only"),
  },
  {
    what: "the state file's directory is missing",
    row: "state file",
    says: /^\/nowhere cannot be written to \(ENOENT\) \| what to do: make it, or give it to the shim's user$/,
    make: set(() => ({ stateFile: "/nowhere/state" })),
  },
  {
    what: "the state file is damaged",
    row: "state file",
    says: /^\S+ is damaged, not readable, or another cluster's; a start goes on without it \| what to do: move it away$/,
    verdict: "warning",
    make: set(({ put }) => ({ stateFile: put("state", "{") })),
  },
  {
    what: "no collector of traces is there",
    row: "tracing",
    says: /^nothing listens there \(ECONNREFUSED\) \| /,
    make: set(() => ({ tracing: { endpoint: "http://127.0.0.1:1/v1/traces" } })),
  },
];

suite("claviger-shim --check", () => {
  let dir: string;
  let site: Site;
  let settings: { readonly [name: string]: unknown; readonly tls: Change; readonly socket: Change };
  let count = 0;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "claviger-check-"));
    const states = { "cluster-1": "active", suspended: "suspended", "decrypt-only": "decrypt-only" };
    const clusters = Object.entries(states).map(([name, state]) => ({
      name,
      uid: newClusterUid(),
      state,
      keys: [{ backend: "main", mount: "transit", key: name }],
    }));
    const put = (name: string, text: string): string => {
      const path = join(dir, `${++count}-${name}`);
      writeFileSync(path, text, { mode: 0o600 });
      return path;
    };
    const registry = { kind: "file", file: put("clusters.yaml", stringify({ clusters })) };
    const options = { backend: "embedded", redis: false, shims: 0, gatewayExtra: { registry } } as const;
    const lab = await startLab({ dir: join(dir, "lab"), ...options });
    const [gateway] = lab.gateways;
    assert.ok(gateway !== undefined);
    const showing = ({ cert, key }: Pem): Change => ({ tls: { cert: put("tls.crt", cert), key: put("tls.key", key) } });
    site = { dir, lab, url: gateway.url, put, showing };
    mkdirSync(join(dir, "run"), { mode: 0o700 });
    const [port = 0] = await freePorts(1);
    settings = {
      socket: { path: join(dir, "run", "kms.sock") },
      gateways: [gateway.url],
      tls: { ...(site.showing(await ofNode(site))["tls"] as Change), ca: lab.pki.ca },
      health: { port },
    };
  });
  after(async () => {
    await site.lab.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const config = (change: Change = {}): string => {
    const inner = (name: "tls" | "socket"): Change => ({ ...settings[name], ...(change[name] as Change | undefined) });
    return site.put("shim.yaml", stringify({ ...settings, ...change, tls: inner("tls"), socket: inner("socket") }));
  };
  const check = (change?: Change) => runToEnd("shim", ["--config", config(change), "--check"]);
  const badOf = (rows: readonly Row[]): readonly Row[] => rows.filter(({ verdict }) => verdict !== "ok");
  const brief = (rows: readonly Row[]) => rows.map(({ name, verdict }) => [name, verdict]);

  test("in a good world every row is ok, and nothing is left behind", async () => {
    const ended = await check();
    const rows = rowsOf(ended.out);
    assert.deepEqual(badOf(rows), [], ended.out);
    assert.equal(ended.code, 0);
    assert.deepEqual(
      rows.map(({ name }) => name.replace(site.url, "GATEWAY")),
      [
        "configuration",
        "socket",
        "health",
        "tls",
        "certificate client",
        "certificate gateway_ca",
        "secret files",
        "gateway GATEWAY",
        "gateway GATEWAY cluster",
        "state file",
      ],
    );
    assert.deepEqual(readdirSync(join(dir, "run")), []);
    console.log(`a good world: ${rows.length} rows, all ok`);
  });

  for (const { what, row, says, verdict, also = [], start, make } of wrongs)
    test(what, async () => {
      await make(site, async (change) => {
        const began = performance.now();
        const ended = await check(change);
        assert.ok(performance.now() - began < 12_000, "no step waits for longer than 5 s");
        const [url = site.url] = (change["gateways"] ?? []) as readonly string[];
        const named = (name: string): string =>
          name.replace("GATEWAY", site.url).replace("https://127.0.0.1:PORT", url);
        const bad = badOf(rowsOf(ended.out));
        const own = bad.find((one) => one.name === named(row) && one.verdict === (verdict ?? "failed"));
        assert.match(own?.found ?? `no row ${named(row)} is bad`, says, ended.out + ended.err);
        assert.deepEqual(
          brief(bad.filter((one) => one !== own)),
          also.map(([name, wanted]) => [named(name), wanted]),
          ended.out,
        );
        assert.equal(ended.code, verdict === undefined ? 1 : 0);
        if (start === undefined) return;
        const started = await runToEnd("shim", ["--config", config(change)], 5000);
        const lines = started.err.split("\n").filter((line) => line !== "" && !line.startsWith("{"));
        assert.equal(started.code, 2, started.err);
        assert.equal(lines.length, 1, started.err);
        assert.match(lines[0] ?? "", start);
      });
    });

  test("everything that is wrong is told at once, and a gateway that is well is", async () => {
    const ended = await check({
      socket: { path: "/nowhere/kms.sock" },
      health: { address: "192.0.2.1", port: 1 },
      gateways: ["https://127.0.0.1:1", site.url],
      tracing: { endpoint: "http://127.0.0.1:1/v1/traces" },
    });
    assert.equal(ended.code, 1);
    assert.deepEqual(brief(badOf(rowsOf(ended.out))), [
      ["socket", "failed"],
      ["health", "failed"],
      ["gateway https://127.0.0.1:1", "failed"],
      ["tracing", "failed"],
      ["state file", "failed"],
    ]);
    const cluster = rowsOf(ended.out).find(({ name }) => name === `gateway ${site.url} cluster`);
    assert.match(cluster?.found ?? "", /^it encrypts for this cluster, key_id clv1\./);
  });

  test("a configuration that cannot be read is status 2", async () => {
    const ended = await check({ nonsense: 1 });
    assert.equal(ended.code, 2);
    assert.match(ended.err, /^claviger-shim: \S+: nonsense: no such setting[^\n]*\n$/);
  });

  test("beside a shim that runs its socket and port are a note, and it is not disturbed", async () => {
    const path = String(settings.socket["path"]);
    const shim = site.lab.processes.start("running", [process.execPath, "shim/src/main.ts", "--config", config()]);
    await readyLine(shim);
    const before = { link: readlinkSync(path), ino: lstatSync(path).ino, log: readFileSync(shim.log, "utf8") };
    const ended = await check();
    assert.equal(ended.code, 0, ended.out);
    assert.deepEqual(brief(badOf(rowsOf(ended.out))), [
      ["socket", "note"],
      ["health", "note"],
    ]);
    const now = { link: readlinkSync(path), ino: lstatSync(path).ino, log: readFileSync(shim.log, "utf8") };
    assert.deepEqual(now, before);
    assert.equal(shim.child.exitCode, null);
    await site.lab.processes.stop(shim);
  });
});
