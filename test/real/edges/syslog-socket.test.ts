// The only audit sink is a syslog collector's unix stream socket. What the system has taken counts as recorded.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { grace } from "./cell.ts";
import { type KmsWorld, startKmsWorld } from "./kms-world.ts";
import { type Cells, describeEdges } from "./suite.ts";

type Collector = {
  readonly path: string;
  /** What it does with a connection from now on; those that are open are cut. */
  serve(take: (socket: Socket) => void): Promise<void>;
  /** It is gone, its socket too. */
  stop(): Promise<void>;
};
type SocketWorld = KmsWorld & { readonly collector: Collector };

const read = (socket: Socket): void => void socket.resume();

function createCollector(path: string): Collector {
  const open = new Set<Socket>();
  let take = read;
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => {}).once("close", () => open.delete(socket));
    take(socket);
  });
  const stop = async (): Promise<void> => {
    for (const socket of open) socket.destroy();
    if (server.listening) await new Promise<void>((resolve) => void server.close(() => resolve()));
    rmSync(path, { force: true });
  };
  return {
    path,
    async serve(next) {
      await stop();
      take = next;
      await once(server.listen(path), "listening");
    },
    stop,
  };
}

async function start(): Promise<SocketWorld> {
  const dir = mkdtempSync(join(tmpdir(), "claviger-"));
  const collector = createCollector(join(dir, "log"));
  await collector.serve(read);
  const sink = { kind: "syslog-socket", path: collector.path };
  const world = await startKmsWorld(
    { backend: "embedded", redis: false, gatewayExtra: { audit: { sinks: [sink] } } },
    async () => {
      await collector.stop();
      rmSync(dir, { recursive: true });
    },
  );
  return { ...world, collector };
}

const withheld = { Status: [grace], Encrypt: ["audit_unavailable"], Decrypt: ["audit_unavailable"] };
const deaf = "the protocol has no answers: a gateway reads nothing that a collector says";
const cure = ({ collector }: SocketWorld): Promise<void> => collector.serve(read);
const lost = "by itself; what was under way is lost, and `claviger audit verify` names it";
let datagrams: ReturnType<typeof spawn> | undefined;

const cells: Cells<SocketWorld> = {
  absent: { how: "its socket is not there", cause: ({ collector }) => collector.stop(), cure, callers: withheld },
  slow: {
    how: "it reads a kilobyte each 100 ms",
    cause: ({ collector }) =>
      collector.serve((socket) => {
        const timer = setInterval(() => void socket.read(1024), 100);
        socket.once("close", () => clearInterval(timer));
      }),
    cure,
  },
  silent: {
    how: "it reads nothing: the system's buffer takes some hundred records for each connection",
    cause: ({ collector }) => collector.serve(() => {}),
    cure,
    end: lost,
  },
  closing: {
    how: "it closes each connection",
    cause: ({ collector }) => collector.serve((socket) => void socket.end()),
    cure,
    end: lost,
  },
  "refusing everything": { unreachable: `${deaf}, and to refuse is to close, as in the row above` },
  "refusing one operation": { unreachable: `${deaf}, and a record is all that it is sent` },
  "answering from an older state": { unreachable: deaf },
  "answering nonsense": {
    how: "it says something to each connection",
    cause: ({ collector }) => collector.serve((socket) => void socket.resume().write("who is there?\n")),
    cure,
  },
  "answering for somebody else": {
    how: "a datagram socket, as the system's own /dev/log is one, is at its path",
    async cause({ collector }) {
      await collector.stop();
      const program = "socket(S, AF_UNIX, SOCK_DGRAM, 0); bind(S, sockaddr_un($ARGV[0])); print qq{bound\\n}; sleep 60";
      const child = spawn("perl", ["-MSocket", "-e", `$| = 1; ${program}`, collector.path]);
      datagrams = child;
      await once(child.stdout, "data");
    },
    async cure(world) {
      datagrams?.kill();
      await cure(world);
    },
    callers: withheld,
  },
  full: { unreachable: `${deaf}: that its disk is full shows at the collector alone, so use it beside a file` },
  "read-only": { unreachable: `${deaf}: that it stores nothing shows at the collector alone` },
  "credentials changed": {
    unreachable:
      "the tests run as root, whom no owner and no mode keeps out; a socket that may not be opened is one that cannot be opened, as in the first row",
  },
  "certificate expired or replaced": { unreachable: "a socket has none" },
  "clock wrong": { unreachable: `${deaf}: a record has the gateway's time` },
};

describeEdges({ dependency: "Audit sink, syslog over a unix socket", start, cells, sample: [] });
