// The contract of the Tracing port, kept where nothing is traced, and by OpenTelemetry with a
// collector that listens and with one that is away.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { openTracing } from "@claviger/proto/runtime/open-tracing.ts";
import { noTracing } from "@claviger/proto/runtime/tracing.ts";
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
        tracing: await openTracing("a service", "0.0.0", { endpoint: url, ratio: 1, delay: 60_000 }),
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
