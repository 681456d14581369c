// etcd, which no gateway and no shim asks: an operator does, before a key version is retired.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "undici";
import { type FaultProxy, html, startFaultProxy, type Way } from "../../lab/fault-proxy.ts";
import { type Etcd, startEtcd } from "../../lab/kubernetes.ts";
import { startLab } from "../../lab/lab.ts";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { claviger } from "../cli/claviger.ts";
import { wayIn } from "./behind-proxy.ts";
import type { World } from "./cell.ts";
import { normalise } from "./observe.ts";
import { type Cells, describeEdges } from "./suite.ts";
import { type Certificates, createCertificates } from "./tls.ts";

type EtcdWorld = World & { readonly proxy: FaultProxy; readonly certificates: Certificates; readonly etcd: Etcd };

async function start(): Promise<EtcdWorld> {
  const dir = mkdtempSync(join(tmpdir(), "claviger-"));
  const certificates = await createCertificates();
  const lab = await startLab({ dir, redis: false });
  const etcd = await startEtcd(lab.processes, dir);
  await etcd.put("/registry/secrets/default/one", Buffer.from("k8s\0in the clear"));
  const port = Number(new URL(etcd.url).port);
  const proxy = await startFaultProxy({ target: () => port, pair: certificates.good, alpn: ["h2"] });
  const args = ["key", "usage", "cluster-1", "--etcd", `https://127.0.0.1:${proxy.port}`, "--etcd-ca", certificates.ca];
  const env = { VAULT_TOKEN: readFileSync(lab.vault?.tokenFile ?? "", "utf8") };
  return {
    programs: [],
    // A command is a process of its own: it has no state that a fault could change with time.
    steadyRounds: 1,
    proxy,
    certificates,
    etcd,
    async round() {
      const { status, err } = await claviger([...args, "--lab", lab.file], env);
      const text = normalise(err.trim().split("\n").at(-1) ?? "").replace(/^error: /i, "");
      return { "`claviger key usage`": status === 0 ? "ok" : `"${text}"` };
    },
    verify: () => Promise.resolve(),
    async stop() {
      await lab.stop();
      await proxy.close();
      for (const made of [dir, certificates.dir]) rmSync(made, { recursive: true, force: true });
    },
  };
}

function way(how: Way | ((world: EtcdWorld) => Way)) {
  return { ...wayIn(how), lookMs: 1, end: "the command is given again" };
}
const askForCertificate =
  "etcd of Kubernetes wants a client certificate: --etcd-ca, --etcd-cert and --etcd-key (docs/bootstrap.md says where they are)";
function said(text: string) {
  return {
    callers: { "`claviger key usage`": [`"claviger: etcd at https://127.0.0.1:PORT cannot be read: ${text}"`] },
  };
}
async function alarm({ etcd }: EtcdWorld, action: "ACTIVATE" | "DEACTIVATE"): Promise<void> {
  const body = JSON.stringify({ action, memberID: "0", alarm: "NOSPACE" });
  const reply = await request(`${etcd.url}/v3/maintenance/alarm`, { method: "POST", body });
  assert.equal(reply.statusCode, 200, await reply.body.text());
}
const elsewhere =
  "needs an etcd with client certificates: test/real/retire/sources.test.ts has each refusal and its words";

const cells: Cells<EtcdWorld> = {
  absent: {
    how: "nothing listens at its address",
    ...way({ kind: "refuse" }),
    ...said("connect ECONNREFUSED 127.0.0.1:PORT."),
  },
  slow: { how: "an answer takes 400 ms", ...way({ kind: "slow", ms: 400 }) },
  silent: { how: "it takes connections and says nothing", ...way({ kind: "silent" }), ...said("no answer in N s") },
  closing: {
    how: "it closes each connection in the middle of an answer",
    ...way({ kind: "close" }),
    ...said(`Failed to connect; ${askForCertificate}`),
  },
  "refusing everything": { unreachable: elsewhere },
  "refusing one operation": { unreachable: "reading ranges is all that is asked of it" },
  "answering from an older state": {
    unreachable:
      "what it holds is what is counted; `key retire` counts again after it has retired a version, and takes that back",
  },
  "answering nonsense": {
    how: "it answers with bytes of no protocol",
    ...way({ kind: "garbage" }),
    ...said(`Protocol error; ${askForCertificate}`),
  },
  "answering for somebody else": {
    how: "a web server that speaks HTTP/1.1 alone is at its address",
    ...way({ kind: "answer", answer: () => html }),
    ...said(`Protocol error; ${askForCertificate}`),
  },
  full: {
    how: "it has no space left (the alarm NOSPACE)",
    cause: (world) => alarm(world, "ACTIVATE"),
    cure: (world) => alarm(world, "DEACTIVATE"),
    lookMs: 1,
    end: "nothing has to be done: reading goes on",
  },
  "read-only": { unreachable: "nothing is written to it, as the row before shows" },
  "credentials changed": { unreachable: elsewhere },
  "certificate expired or replaced": {
    how: "it shows a certificate that has expired",
    ...way(({ certificates }) => ({ kind: "certificate", pair: certificates.expired })),
    ...said("certificate has expired."),
  },
  "clock wrong": { unreachable: "revisions are counted, and no time is read" },
};

describeEdges({ dependency: "etcd, as `claviger key usage` sees it", start, cells, sample: [] });
