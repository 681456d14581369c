// Vault or OpenBao at its one address, in each way that it can go wrong.
import assert from "node:assert/strict";
import { readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { request } from "undici";
import { type Asked, type Answer, html } from "../../lab/fault-proxy.ts";
import { gatewayPolicy, type OpenBao, setUpTransit, startOpenBao } from "../../lab/openbao.ts";
import { until } from "../../lab/process-group.ts";
import { type BehindProxy, pass, startBehindProxy, wayIn } from "./behind-proxy.ts";
import { failing } from "./cell.ts";
import { type Cells, describeEdges } from "./suite.ts";

type VaultWorld = BehindProxy & { readonly vault: OpenBao };

async function start(): Promise<VaultWorld> {
  const world = await startBehindProxy((open, { ca }) => ({
    redis: false,
    vaultSettings: { tls: { ca } },
    vaultAddresses: async (addr) => [`https://127.0.0.1:${(await open(Number(new URL(addr).port))).port}`],
  }));
  const { vault } = world.lab;
  assert.ok(vault !== undefined);
  return { ...world, vault };
}

const way = wayIn<VaultWorld>;
const policy = "sys/policies/acl/claviger-gateway";
const key = "transit/keys/cluster-1";
const role = "auth/approle/role/claviger-gateway/secret-id";

async function revokeTokens(vault: OpenBao): Promise<void> {
  const { data } = await vault.call<{ data: { keys: string[] } }>("LIST", "auth/token/accessors");
  for (const accessor of data.keys) {
    const found = await vault.call<{ data?: { policies: string[] } }>(
      "POST",
      "auth/token/lookup-accessor",
      { accessor },
      [200, 403, 404],
    );
    if (found.data?.policies.includes("claviger-gateway") === true)
      await vault.call("POST", "auth/token/revoke-accessor", { accessor });
  }
}

/** @param change of the key's description, as Vault answers it */
function describing(change: (key: { keys: Record<string, number> }) => void) {
  return async ({ path, method }: Asked, passed: () => Promise<Answer>): Promise<Answer | undefined> => {
    if (method !== "GET" || path !== `/v1/${key}`) return undefined;
    const reply = await passed();
    const json = JSON.parse(reply.body.toString()) as { data: { keys: Record<string, number> } };
    change(json.data);
    return { ...reply, body: JSON.stringify(json) };
  };
}

async function keyId({ client }: VaultWorld): Promise<string> {
  return (await client.status()).keyId;
}
async function rotate(world: VaultWorld): Promise<void> {
  const first = await keyId(world);
  await world.vault.call("POST", `${key}/rotate`);
  await until("the new key_id", undefined, async () => ((await keyId(world)) === first ? undefined : true));
}

const away = failing("backend_unavailable");
const advice = "ask the fleet's operators to check the gateway's policy";

const cells: Cells<VaultWorld> = {
  absent: { how: "nothing listens at its address", ...way({ kind: "refuse" }), callers: away },
  slow: { how: "an answer takes 400 ms", ...way({ kind: "slow", ms: 400 }) },
  silent: {
    how: "it takes connections and says nothing",
    ...way({ kind: "silent" }),
    callers: failing("deadline_exceeded"),
    restless: {
      readyz: {},
      metrics: { '`claviger_gateway_request_duration_seconds{result!="ok"}`': "where the caller waits for longer" },
    },
  },
  closing: { how: "it closes each connection in the middle of an answer", ...way({ kind: "close" }), callers: away },
  "refusing everything": {
    how: "the gateway's policy is removed",
    callers: { Status: ["backend_denied"], Encrypt: ["backend_denied"], Decrypt: ["backend_denied"] },
    repeated: { "vault-login": "comes again, ever more rarely: a new token might help" },
    cause: async ({ vault }) => await vault.call("DELETE", policy),
    cure: async ({ vault }) => await vault.call("PUT", policy, { policy: gatewayPolicy(["cluster-1"]) }),
  },
  "refusing one operation": {
    how: "the policy loses `decrypt`",
    callers: {
      Status: [`"the key backend refuses to decrypt; ${advice}"`],
      Decrypt: ["backend_denied"],
    },
    repeated: { "vault-login": "comes again, ever more rarely: a new token might help" },
    cause: async ({ vault }) =>
      await vault.call("PUT", policy, { policy: gatewayPolicy(["cluster-1"]).replace(/^.*decrypt.*$/m, "") }),
    cure: async ({ vault }) => await vault.call("PUT", policy, { policy: gatewayPolicy(["cluster-1"]) }),
  },
  "answering from an older state": {
    how: "a snapshot is restored that lacks the version in use",
    atFirst: ["deadline_exceeded", "backend_unavailable"],
    // Calls in the moment of the restoration may fail, or not.
    restless: {
      readyz: {},
      metrics: {
        '`claviger_gateway_request_duration_seconds{result!="ok"}`': "in that moment",
        '`claviger_shim_call_duration_seconds{result!="ok"}`': "in that moment",
        '`claviger_shim_upstream_requests_total{result!="ok"}`': "in that moment",
      },
    },
    async cause(world) {
      const { addr } = world.vault;
      const headers = { "x-vault-token": readFileSync(world.vault.tokenFile, "utf8") };
      const snapshot = await request(`${addr}/v1/sys/storage/raft/snapshot`, { headers });
      const body = Buffer.from(await snapshot.body.arrayBuffer());
      await rotate(world);
      const restored = await request(`${addr}/v1/sys/storage/raft/snapshot-force`, { method: "POST", headers, body });
      assert.equal(restored.statusCode, 204);
      await until("OpenBao to serve", undefined, async () =>
        (await request(`${addr}/v1/sys/health`)).statusCode === 200 ? true : undefined,
      );
    },
    cure() {},
    end: "by itself: the gateway makes a version above the lost one",
  },
  "answering nonsense": {
    how: "it answers 200 and a page of HTML to all",
    ...way({ kind: "answer", answer: () => html }),
    callers: away,
  },
  "answering for somebody else": {
    how: "another Vault, with keys of the same names, is at its address",
    async cause(world) {
      const dir = join(world.certificates.dir, "other");
      const other = await startOpenBao(world.others, dir);
      await setUpTransit(other, ["cluster-1"], [], dir);
      await world.proxy.set({ kind: "other", port: Number(new URL(other.addr).port) });
    },
    cure: pass,
    callers: failing("backend_login_refused"),
  },
  full: {
    how: "the disk of its audit device is full",
    cause({ vault }) {
      renameSync(vault.auditLog, `${vault.auditLog}.1`);
      symlinkSync("/dev/full", vault.auditLog);
      process.kill(vault.proc().pid, "SIGHUP");
    },
    cure({ vault }) {
      renameSync(`${vault.auditLog}.1`, vault.auditLog);
      process.kill(vault.proc().pid, "SIGHUP");
    },
    callers: away,
  },
  "read-only": {
    how: "its storage takes no writes while a new version waits to be promoted",
    // Whether the token is renewed meanwhile is a matter of time.
    maybe: ["outage-phase", "outage-over", "vault-login-failed", "vault-login"],
    // So is what the last call before it met.
    maybeAtEnd: ["canary-failed", "key-unreadable"],
    async cause({ proxy, vault }) {
      const refused = { status: 500, body: JSON.stringify({ errors: ["cannot write to readonly storage"] }) };
      await proxy.set({
        kind: "answer",
        answer: ({ path }) => (/\/(?:config|rotate|login)$/.test(path) ? refused : undefined),
      });
      await vault.call("POST", `${key}/rotate`);
    },
    cure: pass,
  },
  "credentials changed": {
    how: "the AppRole's secret-ids and tokens are gone",
    async cause({ vault }) {
      const { data } = await vault.call<{ data: { keys: string[] } }>("LIST", role);
      for (const accessor of data.keys)
        await vault.call("POST", `${role}-accessor/destroy`, { secret_id_accessor: accessor });
      await revokeTokens(vault);
    },
    async cure({ vault, lab }) {
      const { data } = await vault.call<{ data: { secret_id: string } }>("POST", role, {});
      writeFileSync(join(lab.dir, "gateway-1.secret-id"), data.secret_id, { mode: 0o600 });
    },
    callers: failing("backend_login_refused"),
    end: "once a new secret-id is in its file",
  },
  "certificate expired or replaced": {
    how: "it shows a certificate that has expired",
    ...way(({ certificates }) => ({ kind: "certificate", pair: certificates.expired })),
    callers: away,
  },
  "clock wrong": {
    how: "its clock is two years ahead while a version is made, and right when the next one is",
    async cause(world) {
      const { data } = await world.vault.call<{ data: { latest_version: number } }>("GET", key);
      const wrong = String(data.latest_version + 1);
      const answer = describing(({ keys }) => {
        if (keys[wrong] !== undefined) keys[wrong] += 2 * 365 * 86_400;
      });
      await world.proxy.set({ kind: "answer", answer });
      await rotate(world);
    },
    cure: rotate,
    end: "nothing has to be done",
  },
};

describeEdges({ dependency: "Vault or OpenBao at one address", start, cells, sample: ["absent"] });
