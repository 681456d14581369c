// What a registry of 100, 1,000 and 10,000 clusters costs a gateway, in a file, in a directory and in
// OpenBao: from its start to its first answer, an edit until it holds, the longest that a call of another
// cluster waits meanwhile, memory. `node test/bench/registry.ts [CLUSTERS...]`
// The gateway is the bundle that is shipped. Two clusters call; the others' keys are never read, so they are not made.
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "undici";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { silentLog } from "@claviger/proto/runtime/log.ts";
import { clusterName, clusterUid } from "@claviger/proto/wire/names.ts";
import { createPki, startGateway } from "../lab/fleet.ts";
import { type OpenBao, startOpenBao } from "../lab/openbao.ts";
import { createProcessGroup } from "../lab/process-group.ts";
import { usageOf } from "../lab/usage.ts";
import { medianOf } from "./calls.ts";
import { buildShipped } from "./shipped.ts";
import { directoryStore, documentStore, fileStore, type RegistryRow, type Store } from "./stores.ts";

const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const edits = 6;

function rowsOf(count: number): readonly RegistryRow[] {
  return Array.from({ length: count }, (_, i) => {
    const tail = [15, 10, 5, 0].map((shift) => digits[(i >> shift) & 31] ?? "").join("");
    const uid = clusterUid.parse(`01JD9Z6X3QK8V5T7W2M4N6${tail}`);
    return { name: clusterName.parse(`cluster-${i + 1}`), uid, generation: 1, state: "active" };
  });
}

type Caller = { readonly url: string; readonly cert: string; readonly key: string; readonly ca: string };

function clientOf({ url, cert, key, ca }: Caller): Client {
  const tls = { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8"), ca: readFileSync(ca, "utf8") };
  return new Client(url, { connect: tls });
}

async function statusOf(client: Client): Promise<number> {
  const { statusCode, body } = await client.request({
    method: "POST",
    path: "/v2.KeyManagementService/Status",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  await body.dump();
  return statusCode;
}

const mark = "--call";

/** Calls in a process of its own; resolves with the longest call since the last question, milliseconds. */
async function startCalling(caller: Caller): Promise<{ worst(): Promise<number>; stop(): Promise<void> }> {
  const child = fork(import.meta.filename, [mark, JSON.stringify(caller)]);
  await once(child, "message", { signal: AbortSignal.timeout(30_000) });
  return {
    async worst() {
      child.send("worst");
      return ((await once(child, "message")) as [number])[0];
    },
    async stop() {
      const ended = once(child, "exit");
      child.disconnect();
      await ended;
    },
  };
}

async function callOn(caller: Caller): Promise<void> {
  const client = clientOf(caller);
  await statusOf(client);
  process.send?.("ready");
  let worst = 0;
  process.on("message", () => {
    process.send?.(worst);
    worst = 0;
  });
  let isOver = false;
  process.once("disconnect", () => (isOver = true));
  while (!isOver) {
    const began = performance.now();
    await statusOf(client);
    worst = Math.max(worst, performance.now() - began);
    await sleep(1);
  }
  await client.close();
}

async function answers(what: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 60_000; !(await what().catch(() => false)); await sleep(2))
    if (Date.now() > end) throw new Error("no answer within a minute");
}

const worstOf = (values: readonly number[]): number => Math.max(...values);

async function main(counts: readonly number[]): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const processes = createProcessGroup(dir);
  try {
    const bao: OpenBao = await startOpenBao(processes, dir);
    await bao.call("POST", "sys/mounts/transit", { type: "transit" });
    for (const key of ["cluster-1", "cluster-2"])
      await bao.call("POST", `transit/keys/${key}`, { type: "aes256-gcm96" });
    const auth = { kind: "token-file" as const, file: bao.tokenFile };
    const vault = { kind: "vault" as const, addresses: [bao.addr], auth };
    const backend = await openBackend({ name: "main", config: vault, log: silentLog });
    if (backend.documents === undefined) throw new Error("no documents");
    const program = buildShipped("claviger-gateway", join(dir, "shipped"));
    const pki = await createPki(dir);
    const pairs = await Promise.all(["cluster-1", "cluster-2"].map((name) => pki.node(name, "node-1")));

    const measure = async (kind: string, count: number, store: Store): Promise<string> => {
      const rows = rowsOf(count);
      await store.fill(rows);
      const name = `gateway-${kind}-${count}`;
      const extra = { registry: store.registry, backends: { main: vault } };
      const first = await startGateway({ processes, dir, name, pki, registry: "", extra, program });
      await processes.stop(first.proc);
      const [edited, other] = pairs.map(({ cert, key }) => ({ url: first.url, cert, key, ca: pki.ca }));
      if (edited === undefined || other === undefined) throw new Error("no certificates");

      const began = performance.now();
      const proc = processes.start(name, first.proc.argv);
      await answers(async () => (await fetch(new URL("/livez", first.metrics))).ok);
      const livez = performance.now() - began;
      let client = clientOf(edited);
      await answers(async () => {
        client = clientOf(edited);
        return (await statusOf(client)) === 200;
      });
      const answer = performance.now() - began;

      const calling = await startCalling(other);
      await sleep(1500);
      await calling.worst();
      await sleep(3000);
      const quiet = await calling.worst();
      const [seen, stalls]: [number[], number[]] = [[], []];
      const [row] = rows;
      for (let i = 0; row !== undefined && i < edits; i += 1) {
        row.generation += 1;
        row.state = i % 2 === 0 ? "suspended" : "active";
        await calling.worst();
        const wanted = i % 2 === 0 ? 403 : 200;
        const at = performance.now();
        await store.edit(row);
        const written = performance.now();
        await answers(async () => (await statusOf(client)) === wanted);
        seen.push(performance.now() - (kind === "OpenBao" ? at : written));
        await sleep(1000);
        stalls.push(await calling.worst());
      }
      await calling.stop();
      const resident = usageOf(proc.pid).rssMiB;
      await client.close();
      await processes.stop(proc);
      const figures = [
        livez,
        answer,
        medianOf(seen),
        worstOf(seen),
        quiet,
        medianOf(stalls),
        worstOf(stalls),
        resident,
      ];
      return [kind.padEnd(9), String(count).padStart(8), ...figures.map((value) => value.toFixed(0).padStart(11))].join(
        " ",
      );
    };

    const heads = ["/livez", "1st answer", "edit", "edit, worst", "quiet wait", "wait", "wait, worst", "RSS (MiB)"];
    console.log(["registry ", "clusters", ...heads.map((head) => head.padStart(11))].join(" "));
    for (const count of counts) {
      console.log(await measure("file", count, fileStore(dir)));
      console.log(await measure("directory", count, directoryStore(dir, count)));
      await bao.call("DELETE", "sys/mounts/claviger");
      await bao.call("POST", "sys/mounts/claviger", { type: "kv", options: { version: "2" } });
      await answers(async () => (await bao.call<object>("GET", "claviger/config")) !== undefined);
      console.log(await measure("OpenBao", count, documentStore(backend.documents)));
    }
    await backend.close();
  } finally {
    await processes.stopAll();
    await rm(dir, { recursive: true, force: true });
  }
}

const [option, caller = ""] = process.argv.slice(2);
if (option === mark) await callOn(JSON.parse(caller) as Caller);
else await main(process.argv.length > 2 ? process.argv.slice(2).map(Number) : [100, 1000, 10_000]);
