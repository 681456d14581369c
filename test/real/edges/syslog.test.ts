// The only audit sink is a syslog collector behind TLS. The protocol has no acknowledgement: what the system
// has taken counts as recorded.
import { rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { type FaultProxy, startFaultProxy } from "../../lab/fault-proxy.ts";
import { wayIn } from "./behind-proxy.ts";
import { grace } from "./cell.ts";
import { type KmsWorld, startKmsWorld } from "./kms-world.ts";
import { type Cells, describeEdges } from "./suite.ts";
import { type Certificates, createCertificates } from "./tls.ts";

type SyslogWorld = KmsWorld & { readonly proxy: FaultProxy; readonly certificates: Certificates };

async function start(): Promise<SyslogWorld> {
  const certificates = await createCertificates();
  const collector = createServer((socket) => void socket.on("error", () => {}).resume());
  await new Promise<void>((resolve) => void collector.listen(0, "127.0.0.1", resolve));
  const { port } = collector.address() as AddressInfo;
  const proxy = await startFaultProxy({ target: () => port, pair: certificates.good });
  const sink = { kind: "syslog", node: `127.0.0.1:${proxy.port}`, ca: certificates.ca };
  const world = await startKmsWorld(
    { backend: "embedded", redis: false, gatewayExtra: { audit: { sinks: [sink] } } },
    async () => {
      await proxy.close();
      collector.close();
      rmSync(certificates.dir, { recursive: true });
    },
  );
  return { ...world, proxy, certificates };
}

const way = wayIn<SyslogWorld>;
const withheld = { Status: [grace], Encrypt: ["audit_unavailable"], Decrypt: ["audit_unavailable"] };
const late = ["audit_unavailable", "deadline_exceeded"];
const deaf = "the protocol has no answers: a gateway reads nothing that a collector says";

const cells: Cells<SyslogWorld> = {
  absent: { how: "nothing listens at its address", ...way({ kind: "refuse" }), callers: withheld },
  slow: { how: "what is said takes 400 ms each way", ...way({ kind: "slow", ms: 800 }) },
  silent: {
    how: "it takes connections and never finishes a handshake",
    ...way({ kind: "silent" }),
    callers: { Status: [grace], Encrypt: late, Decrypt: late },
  },
  closing: {
    how: "it closes each connection after the handshake",
    ...way({ kind: "garbage" }),
    end: "by itself; what was under way is lost, and `claviger audit verify` names it",
  },
  "refusing everything": { unreachable: `${deaf}, and to refuse is to close, as in the row above` },
  "refusing one operation": { unreachable: `${deaf}, and a record is all that it is sent` },
  "answering from an older state": { unreachable: deaf },
  "answering nonsense": { unreachable: `${deaf}; one that says anything and closes is in the row of closing` },
  "answering for somebody else": {
    how: "a server with a certificate of another CA is at its address",
    ...way(({ certificates }) => ({ kind: "certificate", pair: certificates.foreign })),
    callers: withheld,
  },
  full: { unreachable: `${deaf}: that its disk is full shows at the collector alone, so use it beside a file` },
  "read-only": { unreachable: `${deaf}: that it stores nothing shows at the collector alone` },
  "credentials changed": {
    unreachable: "a collector that wants another client certificate ends the handshake, as in the row of closing",
  },
  "certificate expired or replaced": {
    how: "it shows a certificate that has expired",
    ...way(({ certificates }) => ({ kind: "certificate", pair: certificates.expired })),
    callers: withheld,
  },
  "clock wrong": { unreachable: `${deaf}: a record has the gateway's time` },
};

describeEdges({ dependency: "Audit sink, syslog over TLS", start, cells, sample: [] });
