// What `claviger check --operations` makes of the second listeners of a shim and of a gateway.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test, type TestContext } from "node:test";
import { checkPrograms } from "@claviger/cli/src/check-programs.ts";
import { openOperationsServer } from "@claviger/proto/runtime/operations.ts";
import { freePorts } from "../../../lab/process-group.ts";
import { createMetrics as createGatewayMetrics } from "@claviger/gateway-server/src/metrics.ts";
import { createMetrics as createShimMetrics } from "@claviger/shim/src/metrics.ts";

const day = 24 * 3600;

async function listen(
  t: TestContext,
  options: Pick<Parameters<typeof openOperationsServer>[0], "readiness" | "metrics">,
) {
  const server = await openOperationsServer({ address: "127.0.0.1", port: 0, ...options });
  t.after(() => server.close());
  return new URL(`http://127.0.0.1:${server.port}`);
}

test("each certificate has a row with its end, and each cause of a failed handshake is told in words", async (t) => {
  const expiring = "expires in 3 days, at 2026-01-04T00:00:00Z: spiffe://fleet.test/cluster/prod/node/a";
  const shimMetrics = createShimMetrics();
  const states = [
    { role: "client", level: "expiring", text: expiring, secondsLeft: 3 * day },
    { role: "gateway_ca", level: "ok", text: "ok", secondsLeft: 900 * day },
  ] as const;
  shimMetrics.observeCertificates(() => states);
  for (let i = 0; i < 3; i++) shimMetrics.handshakeFailed("gateway", "certificate_expired");
  const shim = await listen(t, {
    readiness: () => ({ ready: true, certificates: Object.fromEntries(states.map(({ role, text }) => [role, text])) }),
    metrics: shimMetrics.render,
  });
  const gatewayMetrics = createGatewayMetrics();
  gatewayMetrics.observeCertificates(() => [{ role: "server", level: "invalid", text: "", secondsLeft: -day }]);
  gatewayMetrics.handshakeFailed("certificate", "unknown_ca");
  const gateway = await listen(t, {
    readiness: () => ({ ready: true, checks: { redis: "ok", "certificate/server": "expired at yesterday: gateway" } }),
    metrics: gatewayMetrics.render,
  });
  const rows = await checkPrograms([shim, gateway]);
  assert.deepEqual(
    rows.map(({ name, verdict, found }) => [name === shim.origin ? "shim" : "gateway", verdict, found]),
    [
      ["shim", "warning", `certificate client: ${expiring}`],
      ["shim", "ok", "certificate gateway_ca: valid for 900 days"],
      [
        "shim",
        "note",
        "3 failed handshakes since its start: certificate_expired, the certificate has expired, refused by the gateway",
      ],
      ["gateway", "failed", "certificate server: expired at yesterday: gateway"],
      [
        "gateway",
        "note",
        "1 failed handshakes since its start: unknown_ca, the certificate is of a CA that is not trusted, or its intermediates are missing",
      ],
    ],
  );
});

test("what does not answer, and what is no program of ours, is said", async (t) => {
  const other = createServer((_, reply) => reply.end("hello"));
  await new Promise<void>((resolve) => void other.listen(0, "127.0.0.1", resolve));
  t.after(() => void other.close());
  const { port } = other.address() as { readonly port: number };
  const [closed = 0] = await freePorts(1);
  const rows = await checkPrograms([port, closed].map((at) => new URL(`http://127.0.0.1:${at}`)));
  assert.deepEqual(
    rows.map(({ verdict }) => verdict),
    ["failed", "failed"],
  );
  assert.match(rows[0]?.found ?? "", /no second listener of a shim or a gateway/);
  assert.match(rows[1]?.found ?? "", /ECONNREFUSED: nothing listens there/);
});
