// The contract of the Tracing port, kept where nothing is traced, and by OpenTelemetry with a
// collector that listens and with one that is away.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openTracing } from "@claviger/proto/runtime/open-tracing.ts";
import { noTracing } from "@claviger/proto/runtime/tracing.ts";
import { pino } from "pino";
import { tracingContract } from "../../../contracts/tracing.ts";

tracingContract("no tracing", () => Promise.resolve({ tracing: noTracing, stop: () => Promise.resolve() }), {
  traces: false,
});

/** A collector on loopback, which holds what it was sent. */
async function startCollector() {
  const received: Buffer[] = [];
  const server = createServer((request, response) => {
    request.on("data", (chunk: Buffer) => received.push(chunk));
    request.on("end", () => response.writeHead(200).end());
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/v1/traces`, received, server };
}

for (const isThere of [true, false])
  tracingContract(
    `OpenTelemetry, with a collector that ${isThere ? "listens" : "is away"}`,
    async () => {
      const { url, received, server } = await startCollector();
      if (!isThere) await new Promise((resolve) => server.close(resolve));
      return {
        tracing: await openTracing({ name: "a service", version: "0.0.0" }, { endpoint: url, ratio: 1, delay: 60_000 }),
        stop: () => {
          server.close();
          // Long before the delay is over: what was left is sent at the close.
          assert.equal(Buffer.concat(received).includes("a span"), isThere);
          return Promise.resolve();
        },
      };
    },
    { traces: true },
  );

test("a collector that takes nothing is said once, with its status, and so is that it takes traces again", async () => {
  let status = 400;
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(status).end());
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const events: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void events.push(line) });
  const config = { endpoint: `http://127.0.0.1:${port}/v1/traces`, ratio: 1, delay: 10 };
  const tracing = await openTracing({ name: "a service", version: "0.0.0" }, config, log);
  const spanUntil = async (health: string): Promise<void> => {
    for (const end = Date.now() + 5000; tracing.health() !== health; await sleep(5)) {
      assert.ok(Date.now() < end, `${tracing.health()} is not ${health}`);
      await tracing.span("a span", { kind: "server" }, () => Promise.resolve());
    }
  };
  await spanUntil("it answers 400");
  status = 403;
  await spanUntil("it answers 403");
  status = 200;
  await spanUntil("ok");
  await tracing.close();
  server.close();
  assert.deepEqual(
    events.map((line) => (JSON.parse(line) as { readonly event: string }).event),
    ["traces-lost", "traces-sent"],
  );
});
