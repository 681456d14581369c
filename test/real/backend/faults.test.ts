// What goes wrong with a Vault, on a real OpenBao: what a caller is told, and that everything comes
// back by itself.
import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { inspect } from "node:util";
import { createDispatcher } from "@claviger/gateway-server/src/backend/dispatch.ts";
import type { OpenBackend } from "@claviger/gateway-core/src/backend/port.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import { type KmsError, toKmsError } from "@claviger/proto/wire/errors.ts";
import { clusterName } from "@claviger/proto/wire/names.ts";
import { pino } from "pino";
import { gatewayPolicy } from "../../lab/openbao.ts";
import { until } from "../../lab/process-group.ts";
import { aad, refOf, roundTrip, soon, startWorld, valueOf, type World } from "./world.ts";
import { freeze } from "../../lab/freeze.ts";

async function failureOf(call: Promise<unknown>): Promise<KmsError> {
  return await call.then(
    () => assert.fail("it should have failed"),
    (error: unknown) => toKmsError(error),
  );
}
function serves(backend: OpenBackend): Promise<true> {
  return until("the backend to serve", undefined, () =>
    roundTrip(backend).then(
      () => true as const,
      () => undefined,
    ),
  );
}

suite("faults of a Vault", () => {
  let world: World;
  let backend: OpenBackend;
  const logged: string[] = [];
  const log = pino({ level: "trace" }, { write: (line: string) => void logged.push(line) });

  before(async () => {
    world = await startWorld();
    backend = await world.open(world.approle, {}, log);
    await roundTrip(backend);
  });
  after(() => world.stop());

  test("a revoked token is replaced within the request that meets it", async () => {
    const { data } = await world.bao.call<{ data: { keys: string[] } }>("LIST", "auth/token/accessors");
    let revoked = 0;
    for (const accessor of data.keys) {
      const found = await world.bao.call<{ data: { policies: string[] } }>("POST", "auth/token/lookup-accessor", {
        accessor,
      });
      if (!found.data.policies.includes("claviger-gateway")) continue;
      await world.bao.call("POST", "auth/token/revoke-accessor", { accessor });
      revoked += 1;
    }
    assert.equal(revoked, 1);
    await Promise.all(Array.from({ length: 20 }, () => roundTrip(backend)));
  });

  test("a storm of 5,000 decrypts, 500 at once, is at most 100 requests, and a tampered one fails alone", async () => {
    const key = refOf("one");
    const batch = Array.from({ length: 100 }, () => ({ plaintext: randomBytes(32), associatedData: aad, version: 1 }));
    const wrapped = (await backend.wrap(key, batch, soon())).map(valueOf);
    const auditedBefore = readFileSync(world.bao.auditLog, "utf8").length;
    const calls: number[] = [];
    const dispatcher = createDispatcher({ backend, observe: ({ items }) => void calls.push(items) });
    const tampered = Buffer.from(wrapped[0]?.ciphertext ?? []);
    tampered[30] = (tampered[30] ?? 0) ^ 1;
    const results: string[] = [];
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < 5000) {
        const n = next++;
        const { ciphertext = Buffer.alloc(0) } = wrapped[n % 100] ?? {};
        const item = { ciphertext: n === 2500 ? tampered : ciphertext, associatedData: aad, version: 1 };
        results[n] = await dispatcher.unwrap(clusterName.parse("prod"), key, item, soon()).then(
          ({ plaintext }) => (batch[n % 100]?.plaintext.equals(plaintext) === true ? "right" : "wrong"),
          (error: unknown) => toKmsError(error).reason,
        );
      }
    };
    await Promise.all(Array.from({ length: 500 }, worker));
    assert.equal(results[2500], "ciphertext_invalid");
    assert.equal(results.filter((result) => result === "right").length, 4999);
    const audited = readFileSync(world.bao.auditLog, "utf8")
      .slice(auditedBefore)
      .split("\n")
      .filter((line) => line.includes('"type":"request"') && line.includes("transit/decrypt"));
    assert.equal(audited.length, calls.length);
    assert.ok(audited.length <= 100, `${audited.length} requests`);
    console.log(`5,000 decrypts in ${audited.length} requests`);
  });

  test("after a slow moment of a Vault, what it could not answer in time is not sent to it, and all else is", async () => {
    const key = refOf("one");
    const dispatcher = createDispatcher({ backend });
    const ask = (leftMs: number): Promise<string> =>
      dispatcher
        .wrap(
          clusterName.parse("prod"),
          key,
          { plaintext: randomBytes(32), associatedData: aad, version: 1 },
          soon(),
          steadyNow() + leftMs,
        )
        .then(
          () => "ok",
          (error: unknown) => toKmsError(error).reason,
        );
    const requests = (): number =>
      readFileSync(world.bao.auditLog, "utf8")
        .split("\n")
        .filter((line) => line.includes('"type":"request"') && line.includes("transit/encrypt")).length;
    assert.equal(await ask(2000), "ok");
    const { pid } = world.bao.proc();
    freeze(pid);
    const slow = ask(4000);
    setTimeout(() => process.kill(pid, "SIGCONT"), 300);
    assert.equal(await slow, "ok");
    const before = requests();
    // Calls of 250 ms are what is reckoned with at most.
    assert.equal(await ask(200), "deadline_exceeded");
    assert.equal(requests(), before);
    assert.equal(await ask(1000), "ok");
    assert.equal(requests(), before + 1);
  });

  test("a paused Vault costs callers their deadline, and is back at once when it goes on", async () => {
    const { pid } = world.bao.proc();
    freeze(pid);
    try {
      const started = Date.now();
      assert.equal((await failureOf(roundTrip(backend, refOf("one"), 400))).reason, "deadline_exceeded");
      assert.ok(Date.now() - started < 1000);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await roundTrip(backend);
  });

  test("a restart is met with backend_unavailable or backend_sealed, then it serves again", async () => {
    const restarted = world.bao.restart();
    const reasons = new Set<string>();
    let isOver = false;
    void restarted.finally(() => {
      isOver = true;
    });
    while (!isOver)
      await roundTrip(backend, refOf("one"), 500).catch((error: unknown) => {
        reasons.add(toKmsError(error).reason);
      });
    await restarted;
    await serves(backend);
    const allowed = new Set(["backend_unavailable", "backend_sealed", "deadline_exceeded"]);
    assert.ok(reasons.size > 0 && [...reasons].every((reason) => allowed.has(reason)), inspect(reasons));
  });

  test("several addresses: refused, sealed, limited, failing, redirecting, silent; the one that serves is found", async () => {
    const servers: ReturnType<typeof createServer>[] = [];
    const seen: string[] = [];
    const start = async (answer: RequestListener): Promise<string> => {
      const server = createServer((request, response) => {
        if (!(request.url ?? "").startsWith("/v1/sys/health")) seen.push(request.url ?? "");
        answer(request, response);
      });
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    };
    const saying =
      (status: number, body: string, headers: Record<string, string> = {}): RequestListener =>
      (_request, response) => {
        response.writeHead(status, headers).end(body);
      };
    try {
      const foreign = await start(saying(200, "{}"));
      const bad = [
        "http://127.0.0.1:1",
        await start(saying(503, '{"errors":["Vault is sealed"]}')),
        await start(saying(429, "{}", { "retry-after": "3" })),
        await start(saying(473, "{}")),
        await start(saying(500, '{"errors":["internal error"]}')),
        await start(saying(307, "", { location: `${foreign}/v1/transit/encrypt/one` })),
        await start(() => {}),
      ];
      for (const address of bad) {
        const over = await world.open(world.approle, { addresses: [address, world.bao.addr] });
        await roundTrip(over);
        const before = seen.length;
        const started = Date.now();
        await roundTrip(over);
        assert.ok(Date.now() - started < 400, `${address} is still asked first`);
        assert.equal(seen.length, before);
      }
      for (const [i, reason] of ["backend_unavailable", "backend_sealed", "backend_rate_limited"].entries()) {
        const alone = await world.open(world.approle, { addresses: [bad[i] ?? ""] });
        const error = await failureOf(roundTrip(alone));
        assert.equal(error.reason, reason);
        if (reason === "backend_rate_limited") assert.equal(error.retryAfterMs, 3000);
      }
    } finally {
      for (const server of servers) {
        server.closeAllConnections();
        server.close();
      }
    }
  });

  test("neither an error nor a log line of all this holds a token, a secret-id or a plaintext", async () => {
    const canary = randomBytes(32);
    const item = { plaintext: canary, associatedData: aad, version: 1 };
    const other = await world.open(world.approle, { addresses: ["http://127.0.0.1:1"] }, log);
    const errors = await Promise.all([
      failureOf(other.wrap(refOf("one"), [item], soon(500))),
      failureOf(backend.wrap(refOf("absent"), [item], soon())),
      failureOf(backend.wrap(refOf("one"), [{ ...item, version: 9 }], soon()).then(([outcome]) => valueOf(outcome))),
      failureOf(backend.wrap(refOf("one"), [item], AbortSignal.abort())),
    ]);
    assert.deepEqual(
      errors.map(({ reason }) => reason),
      ["backend_unavailable", "backend_denied", "request_malformed", "canceled"],
    );
    for (const err of errors) log.error({ err });
    assert.ok(world.approle.kind === "approle");
    const secrets = [
      canary.toString("base64"),
      canary.toString("hex"),
      readFileSync(world.approle.secretIdFile, "utf8"),
    ];
    const text = `${logged.join("")}${inspect(errors, { depth: 20, showHidden: true })}${JSON.stringify(errors)}`;
    assert.ok(logged.length > 3);
    for (const secret of secrets) assert.ok(!text.includes(secret));
    assert.ok(!/\b(hv)?s\.[A-Za-z0-9]{20,}/.test(text), "a token");
  });

  test("a policy that is taken away is backend_denied for that key alone, with few logins; given back, all is well", async () => {
    const logins = (): number =>
      readFileSync(world.bao.auditLog, "utf8")
        .split("\n")
        .filter((line) => line.includes('"type":"request"') && line.includes('"path":"auth/approle/login"')).length;
    await world.bao.call("PUT", "sys/policies/acl/claviger-gateway", { policy: gatewayPolicy(["two"]) });
    const before = logins();
    for (let i = 0; i < 50; i++) {
      assert.equal((await failureOf(roundTrip(backend, refOf("one")))).reason, "backend_denied");
      await roundTrip(backend, refOf("two"));
    }
    assert.ok(logins() - before <= 3, `${logins() - before} logins`);
    await world.bao.call("PUT", "sys/policies/acl/claviger-gateway", { policy: gatewayPolicy(["one", "two"]) });
    await serves(backend);
  });
});
