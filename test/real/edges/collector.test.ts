// The OpenTelemetry collector of both programs: no call may notice what is wrong with it, an operator shall.
import { rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Answer, type FaultProxy, html, startFaultProxy, type Way } from "../../lab/fault-proxy.ts";
import { wayIn } from "./behind-proxy.ts";
import { type KmsWorld, startKmsWorld } from "./kms-world.ts";
import { type Cells, describeEdges } from "./suite.ts";
import { type Certificates, createCertificates } from "./tls.ts";

type CollectorWorld = KmsWorld & { readonly proxy: FaultProxy; readonly certificates: Certificates };

async function start(): Promise<CollectorWorld> {
  const certificates = await createCertificates();
  const collector = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(200, { "content-type": "application/x-protobuf" }).end());
  });
  await new Promise<void>((resolve) => void collector.listen(0, "127.0.0.1", resolve));
  const { port } = collector.address() as AddressInfo;
  const proxy = await startFaultProxy({ target: () => port });
  const tracing = { endpoint: `http://127.0.0.1:${proxy.port}/v1/traces`, ratio: 1, delay: "500ms" };
  const world = await startKmsWorld(
    { backend: "embedded", redis: false, shimExtra: { tracing }, gatewayExtra: { tracing } },
    async () => {
      await proxy.close();
      collector.close();
      collector.closeAllConnections();
      rmSync(certificates.dir, { recursive: true });
    },
  );
  return { ...world, proxy, certificates };
}

function way(how: Way | ((world: CollectorWorld) => Way)) {
  // The exporter gives a collector 10 s, and tries again within them.
  return { ...wayIn(how), lookMs: 15_000 };
}
function answers(answer: Answer) {
  return way({ kind: "answer", answer: () => answer });
}
const unread = "of its answer the status counts alone";

const cells: Cells<CollectorWorld> = {
  absent: { how: "nothing listens at its address", ...way({ kind: "refuse" }) },
  slow: { how: "an answer takes 400 ms", ...way({ kind: "slow", ms: 400 }) },
  silent: { how: "it takes connections and says nothing", ...way({ kind: "silent" }) },
  closing: { how: "it closes each connection in the middle of an answer", ...way({ kind: "close" }) },
  "refusing everything": { how: "it answers 403", ...answers({ status: 403, body: "" }) },
  "refusing one operation": { unreachable: "sending traces is all that is asked of it" },
  "answering from an older state": { unreachable: `nothing is asked of it: ${unread}` },
  "answering nonsense": { how: "it answers with bytes of no protocol", ...way({ kind: "garbage" }) },
  "answering for somebody else": {
    how: "a web server that knows no such path is at its address",
    ...answers({ ...html, status: 404 }),
  },
  full: { how: "it answers 429", ...answers({ status: 429, body: "" }) },
  "read-only": { how: "it answers 500: it cannot store what it is sent", ...answers({ status: 500, body: "" }) },
  "credentials changed": { how: "it answers 401", ...answers({ status: 401, body: "" }) },
  "certificate expired or replaced": {
    how: "it speaks TLS all of a sudden, with a certificate of another CA",
    ...way(({ certificates }) => ({ kind: "certificate", pair: certificates.foreign })),
  },
  "clock wrong": { unreachable: `spans have the programs' own times, and ${unread}` },
};

describeEdges({ dependency: "Collector of traces", start, cells, sample: [] });
