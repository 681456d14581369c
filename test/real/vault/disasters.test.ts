// Faults of a Vault, on a raft cluster of three real nodes under load: what callers see of it,
// and that all comes back without a restart of ours.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { formatTable } from "@claviger/proto/runtime/table.ts";
import { mountPath } from "@claviger/proto/wire/names.ts";
import { failuresOf, type Load, newTally, type Tally } from "../../lab/load.ts";
import { type AppRoleFiles, gatewayPolicy, setUpTransit } from "../../lab/openbao.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { type Raft, startRaft } from "../../lab/raft.ts";
import { silent } from "../../unit/gateway/fakes.ts";
import { startBackendLoad } from "./load.ts";
import { freeze } from "../../lab/freeze.ts";

const isFull = process.env["CLAVIGER_TEST_FULL"] === "1";
const pauseMs = isFull ? 20_000 : 6000;
const perSecond = 200;
/** kube-apiserver's own. */
const deadlineMs = 3000;

type Expected = {
  /** The only reasons that callers may see. */
  readonly reasons: readonly string[];
  /** No caller waits longer than this for the next success to come, milliseconds. */
  readonly gapMs: number;
  /** The last failure comes at most this long after it was put right. */
  readonly backMs: number;
};

suite("faults of a Vault of three nodes, and what callers see of them", () => {
  let dir: string;
  let processes: ProcessGroup;
  let raft: Raft;
  let files: AppRoleFiles;
  let backend: OpenBackend;
  let load: Load;
  const head = ["event", "requests", "ok", "failed", "longest gap", "last failure after repair"];
  const rows: string[][] = [];

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "claviger-"));
    processes = createProcessGroup(dir);
    raft = await startRaft(processes, dir);
    const found = (await setUpTransit(raft, ["one"], ["gw"], dir)).get("gw");
    assert.ok(found !== undefined);
    files = found;
    backend = await openBackend({
      name: "main",
      config: {
        kind: "vault",
        addresses: raft.nodes.map(({ addr }) => addr),
        auth: { kind: "approle", mount: mountPath.parse("approle"), wrapped: false, ...files },
      },
      log: silent,
    });
    load = startBackendLoad(backend, { perSecond, deadlineMs });
  });
  after(async () => {
    await load.stop();
    await backend.close();
    await processes.stopAll();
    await raft.close();
    await rm(dir, { recursive: true });
    console.log(formatTable(head, rows));
  });

  const merge = (into: Tally, next: Tally): void => {
    into.ok += next.ok;
    for (const [reason, count] of next.failed) into.failed.set(reason, (into.failed.get(reason) ?? 0) + count);
    into.successes.push(...next.successes);
    into.lastFailure = Math.max(into.lastFailure, next.lastFailure);
  };

  /** A second without a failure at nearly the full pace. */
  const untilQuiet = async (tally: Tally): Promise<void> => {
    let quiet = 0;
    for (const end = performance.now() + 40_000; quiet < 4; ) {
      await sleep(250);
      const next = load.take();
      quiet = next.failed.size === 0 && next.ok >= perSecond / 8 ? quiet + 1 : 0;
      merge(tally, next);
      assert.ok(performance.now() < end, `it does not come back: ${JSON.stringify([...tally.failed])}`);
    }
  };

  /** @param happen resolves when the world is in order again */
  const event = (name: string, happen: () => Promise<void>, { reasons, gapMs, backMs }: Expected): void => {
    test(name, async () => {
      await untilQuiet(newTally());
      const began = performance.now();
      await happen();
      const repaired = performance.now();
      const tally = load.take();
      await untilQuiet(tally);
      const { ok, failed, successes, lastFailure } = tally;
      const failures = failuresOf(tally);
      const gap = successes.reduce((longest, at, i) => Math.max(longest, at - (successes[i - 1] ?? began)), 0);
      const back = Math.max(0, lastFailure - repaired);
      rows.push([
        name,
        String(ok + failures),
        String(ok),
        [...failed].map(([reason, count]) => `${count} ${reason}`).join(", ") || "none",
        `${(gap / 1000).toFixed(1)} s`,
        lastFailure === 0 ? "-" : `${(back / 1000).toFixed(1)} s`,
      ]);
      assert.deepEqual(
        [...failed.keys()].filter((reason) => !reasons.includes(reason)),
        [],
      );
      assert.ok(gap <= gapMs, `a gap of ${Math.round(gap)} ms`);
      assert.ok(back <= backMs, `a failure ${Math.round(back)} ms after the repair`);
    });
  };

  const away = ["backend_unavailable", "backend_sealed", "deadline_exceeded"];
  const revokeTokens = async (): Promise<void> => {
    const { data } = await raft.call<{ data: { keys: string[] } }>("LIST", "auth/token/accessors");
    for (const accessor of data.keys) {
      const token = await raft.call<{ data?: { policies: string[] } }>(
        "POST",
        "auth/token/lookup-accessor",
        { accessor },
        [200, 403, 404],
      );
      if (token.data?.policies.includes("claviger-gateway") === true)
        await raft.call("POST", "auth/token/revoke-accessor", { accessor }, [204, 400, 404]);
    }
  };
  const pause = async (pids: readonly number[]): Promise<void> => {
    for (const pid of pids) freeze(pid);
    try {
      await sleep(pauseMs);
    } finally {
      for (const pid of pids) process.kill(pid, "SIGCONT");
    }
  };

  event(
    "leader killed -9",
    async () => {
      const leader = await raft.leader();
      process.kill(leader.proc().pid, "SIGKILL");
      await raft.leader();
      await leader.start();
      await leader.unseal();
    },
    { reasons: away, gapMs: 15_000, backMs: 3000 },
  );

  event(
    "a follower killed -9",
    async () => {
      const leader = await raft.leader();
      const follower = raft.nodes.find((node) => node !== leader);
      assert.ok(follower !== undefined);
      process.kill(follower.proc().pid, "SIGKILL");
      await follower.start();
      await follower.unseal();
    },
    { reasons: [], gapMs: 1500, backMs: 0 },
  );

  event(
    "all restarted, sealed for 3 s, unsealed",
    async () => {
      await Promise.all(raft.nodes.map((node) => node.start()));
      await sleep(3000);
      await Promise.all(raft.nodes.map((node) => node.unseal()));
      await raft.leader();
    },
    { reasons: away, gapMs: 30_000, backMs: 6000 },
  );

  event("token revoked", revokeTokens, { reasons: [], gapMs: 1000, backMs: 0 });

  event(
    "secret-id and token gone, replaced after 2 s",
    async () => {
      const role = "auth/approle/role/claviger-gateway/secret-id";
      const { data } = await raft.call<{ data: { keys: string[] } }>("LIST", role);
      const next = await raft.call<{ data: { secret_id: string } }>("POST", role, {});
      for (const accessor of data.keys)
        await raft.call("POST", `${role}-accessor/destroy`, { secret_id_accessor: accessor });
      await revokeTokens();
      await sleep(2000);
      await writeFile(files.secretIdFile, next.data.secret_id, { mode: 0o600 });
    },
    { reasons: ["backend_login_refused"], gapMs: 8000, backMs: 5000 },
  );

  event(
    "policy removed for 3 s",
    async () => {
      await raft.call("DELETE", "sys/policies/acl/claviger-gateway");
      await sleep(3000);
      await raft.call("PUT", "sys/policies/acl/claviger-gateway", { policy: gatewayPolicy(["one"]) });
    },
    { reasons: ["backend_denied"], gapMs: 5000, backMs: 2000 },
  );

  event(`leader paused for ${pauseMs / 1000} s`, async () => await pause([(await raft.leader()).proc().pid]), {
    reasons: away,
    gapMs: 15_000,
    backMs: 6000,
  });

  event(`all paused for ${pauseMs / 1000} s`, () => pause(raft.nodes.map((node) => node.proc().pid)), {
    reasons: away,
    gapMs: pauseMs + 15_000,
    backMs: 15_000,
  });
});
