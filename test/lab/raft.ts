// A real OpenBao of three nodes with raft storage, for faults: a node killed, all of them sealed, one
// or all paused.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { request } from "undici";
import { findBinary } from "../parts/find.ts";
import { startFaultyTcp } from "./faulty.ts";
import { loopback, type Place } from "./place.ts";
import { freePorts, type ProcessGroup, type LabProcess, until } from "./process-group.ts";

export type RaftNode = {
  readonly addr: string;
  /** The running process; another one after `start`. */
  readonly proc: () => LabProcess;
  /** Starts it again after its end, on the same data: it is sealed then. */
  start(): Promise<void>;
  unseal(): Promise<void>;
  /** Whether the other nodes reach it: a follower that they do not reach goes on answering, from what it has. */
  reach(isReachable: boolean): Promise<void>;
};

export type Raft = {
  /** With the root token, at the leader or the node that is named. @throws Error for another status */
  call<T>(method: string, path: string, body?: unknown, allowed?: readonly number[], node?: RaftNode): Promise<T>;
  readonly nodes: readonly RaftNode[];
  /** The node that is active now; waits for one. */
  leader(): Promise<RaftNode>;
  /** Ends what stands between the nodes; they are the process group's. */
  close(): Promise<void>;
};

type Reply = { readonly status: number; readonly json: unknown };

async function ask(addr: string, method: string, path: string, body?: unknown, token?: string): Promise<Reply> {
  const reply = await request(`${addr}/v1/${path}`, {
    method: method as "GET",
    headers: { "content-type": "application/json", ...(token !== undefined && { "x-vault-token": token }) },
    headersTimeout: 5000,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await reply.body.text();
  return { status: reply.statusCode, json: text === "" ? undefined : JSON.parse(text) };
}

/**
 * Starts, initialises and unseals three nodes; resolves when one is active and the others follow.
 * @param places one for each node; between nodes elsewhere than on loopback stand no relays
 */
export async function startRaft(processes: ProcessGroup, dir: string, places: readonly Place[] = []): Promise<Raft> {
  const ports = await freePorts(6);
  const placeOf = (n: number): Place => places[n] ?? loopback;
  const relays = await Promise.all(
    ports.slice(3).map(async (port, n) => await (placeOf(n) === loopback ? startFaultyTcp(() => port) : undefined)),
  );
  const addrs = ports.slice(0, 3).map((port, n) => `http://${placeOf(n).host}:${port}`);
  let unsealKey = "";
  let rootToken = "";

  const createNode = async (addr: string, n: number): Promise<RaftNode> => {
    const home = join(dir, `openbao-${n}`);
    const { host, enter } = placeOf(n);
    mkdirSync(join(home, "raft"), { recursive: true, mode: 0o700 });
    const join1 = n === 0 ? "" : `retry_join { leader_api_addr = "${addrs[0]}" }`;
    const config = `
ui = false
disable_mlock = true
api_addr = "${addr}"
cluster_addr = "http://${host}:${relays[n]?.port ?? ports[n + 3]}"
storage "raft" { path = "${join(home, "raft")}"
  node_id = "node-${n}"
  performance_multiplier = 1
  ${join1}
}
listener "tcp" { address = "${addr.slice("http://".length)}"  cluster_address = "${host}:${ports[n + 3]}"  tls_disable = true }
`;
    writeFileSync(join(home, "openbao.hcl"), config, { mode: 0o600 });
    const argv = [...enter, findBinary("bao"), "server", `-config=${join(home, "openbao.hcl")}`];
    let proc = processes.start(`openbao-${n}`, argv);
    const isUp = () =>
      until(`node ${n} to answer`, proc, async () => await ask(addr, "GET", "sys/seal-status").catch(() => undefined));
    await isUp();
    return {
      addr,
      proc: () => proc,
      reach: async (isReachable) => await relays[n]?.set(isReachable ? "none" : "refuse"),
      async start() {
        proc = await processes.restart(proc);
        await isUp();
      },
      async unseal() {
        await until(`node ${n} to be unsealed`, proc, async () => {
          // A node that has not joined yet knows no key.
          const { json } = await ask(addr, "PUT", "sys/unseal", { key: unsealKey });
          return (json as { sealed?: boolean } | undefined)?.sealed === false ? true : undefined;
        });
        await until(`node ${n} to serve`, proc, async () =>
          (await ask(addr, "GET", "sys/health?standbyok=true&perfstandbyok=true")).status === 200 ? true : undefined,
        );
      },
    };
  };
  const nodes = await Promise.all(addrs.map(createNode));
  const [first, ...others] = nodes;
  if (first === undefined) throw new TypeError("no nodes");
  const { json } = await ask(first.addr, "PUT", "sys/init", { secret_shares: 1, secret_threshold: 1 });
  const init = json as { keys_base64: string[]; root_token: string };
  unsealKey = init.keys_base64[0] ?? "";
  rootToken = init.root_token;
  await first.unseal();
  const leader = (): Promise<RaftNode> =>
    until("a raft leader", undefined, async () => {
      for (const node of nodes)
        if ((await ask(node.addr, "GET", "sys/health").catch(() => undefined))?.status === 200) return node;
      return undefined;
    });
  await leader();
  await Promise.all(others.map((node) => node.unseal()));
  // Voters only after a while: before that the loss of the leader would be the loss of the cluster.
  await until("three voters", undefined, async () => {
    const { json: found } = await ask(first.addr, "GET", "sys/storage/raft/configuration", undefined, rootToken);
    const servers = (found as { data?: { config?: { servers?: { voter: boolean }[] } } }).data?.config?.servers ?? [];
    return servers.filter(({ voter }) => voter).length === 3 ? true : undefined;
  });

  return {
    nodes,
    leader,
    close: async () => void (await Promise.all(relays.map(async (relay) => await relay?.close()))),
    async call<T>(
      method: string,
      path: string,
      body?: unknown,
      allowed: readonly number[] = [200, 204],
      node?: RaftNode,
    ) {
      const { status, json: answer } = await ask((node ?? (await leader())).addr, method, path, body, rootToken);
      if (!allowed.includes(status))
        throw new Error(`OpenBao answered ${status} to ${method} ${path}: ${JSON.stringify(answer)}`);
      return answer as T;
    },
  };
}
