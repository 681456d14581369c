// Audit records to a syslog collector: messages of RFC 5424, each behind its length in bytes, over TLS
// (RFC 5425) or a unix stream socket. The protocol has no acknowledgement: taken means that the
// system has the bytes, and what was under way when the collector went is lost.
// (docs/architecture.md #audit.)
import { readFileSync } from "node:fs";
import { connect as connectPlain, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { SinkConfig, SyslogConfig } from "./config.ts";
import type { AuditSink } from "./port.ts";

/** Who sends, for the header of each message. */
export type SyslogSender = { readonly host: string; readonly pid: number };

const connectMs = 5000;
/** A collector that takes nothing for so long is given up, in milliseconds. */
const writeMs = 5000;
const closeMs = 1000;
const keepAliveMs = 30_000;

/** RFC 5424 section 6.2.1: every record is informational; its own fields say what became of the call. */
const severity = 6;
/** Where `"time"` stands in a line, and its length. */
const timeAt = '{"time":"'.length;
const timeLength = "2026-01-01T00:00:00.000Z".length;

/** A name as RFC 5424 allows it in a header: printable ASCII without spaces. */
function headerName(text: string, most: number): string {
  return text.replaceAll(/[^!-~]/g, "-").slice(0, most) || "-";
}

/** Lines as messages, each behind its length (RFC 5425 section 4.3). */
export function frame(lines: Buffer, facility: number, { host, pid }: SyslogSender): Buffer {
  const before = `<${facility * 8 + severity}>1 `;
  const after = ` ${headerName(host, 255)} claviger-gateway ${pid} audit - `;
  const parts: Buffer[] = [];
  for (let start = 0, end = lines.indexOf(10); end !== -1; start = end + 1, end = lines.indexOf(10, start)) {
    const line = lines.subarray(start, end);
    const header = Buffer.from(`${before}${line.toString("latin1", timeAt, timeAt + timeLength)}${after}`);
    parts.push(Buffer.from(`${header.length + line.length} `), header, line);
  }
  return Buffer.concat(parts);
}

/** @throws the system's error when a file cannot be read */
function open(config: SyslogConfig): Socket {
  if (config.kind === "syslog-socket") return connectPlain({ path: config.path });
  const { ca, cert, key, serverName } = config;
  const name = serverName ?? config.node.host;
  return connectTls({
    host: config.node.host,
    port: config.node.port,
    minVersion: "TLSv1.2",
    ...(isIP(name) === 0 && { servername: name }),
    ...(ca !== undefined && { ca: readFileSync(ca) }),
    ...(cert !== undefined && { cert: readFileSync(cert) }),
    ...(key !== undefined && { key: readFileSync(key) }),
  });
}

/** What `act` calls back with, or an error after so long; then the connection is of no use any more. */
function within(
  socket: Socket,
  milliseconds: number,
  what: string,
  act: (done: (error?: Error | null) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (error?: Error | null): void => {
      clearTimeout(timer);
      socket.off("error", finish).off("close", onClose);
      if (error === undefined || error === null) return resolve();
      socket.destroy();
      reject(error);
      return undefined;
    };
    const onClose = (): void => finish(new Error("the collector has closed the connection"));
    const timer = setTimeout(() => finish(new Error(`the collector ${what} for ${milliseconds} ms`)), milliseconds);
    socket.once("error", finish).once("close", onClose);
    act(finish);
  });
}

async function connect(config: SyslogConfig): Promise<Socket> {
  const socket = open(config);
  // An error between two writes shows at the next one.
  socket.on("error", () => {});
  const event = config.kind === "syslog" ? "secureConnect" : "connect";
  await within(socket, connectMs, "has not answered", (done) => socket.once(event, () => done()));
  socket.setKeepAlive(true, keepAliveMs).setNoDelay(true);
  // Nothing is said to us; without reading, the end of the connection would not show.
  socket.resume().unref();
  return socket;
}

/** A collector that refuses our certificate says so after it was connected to (TLS 1.3), milliseconds. */
const refusalMs = 300;

/** Connects, sends nothing, and leaves. @throws the system's error, or one that says what happened */
export async function tryCollector(config: SyslogConfig): Promise<void> {
  const socket = await connect(config);
  const ended = new Promise<void>((_, reject) => {
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the collector has closed the connection")));
  });
  try {
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, refusalMs))]);
  } finally {
    ended.catch(() => {});
    socket.destroy();
  }
}

export function nameOf(config: SyslogConfig): string {
  return config.kind === "syslog-socket" ? config.path : `${config.node.host}:${config.node.port}`;
}

/** Connects at the first write, and again after a failure. Certificates are read for each connection. */
export function createSyslogSink(config: SyslogConfig, sender: SyslogSender): AuditSink {
  let socket: Socket | undefined;
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = (act: () => Promise<void>): Promise<void> => {
    const result = turn.then(act, act);
    turn = result.catch(() => {});
    return result;
  };
  const end = async (): Promise<void> => {
    const old = socket;
    socket = undefined;
    if (old === undefined || old.destroyed) return;
    await within(old, closeMs, "has not taken the rest", (done) => old.end(() => done())).catch(() => {});
    old.destroy();
  };
  return {
    name: `syslog ${nameOf(config)}`,
    write: (lines) =>
      inTurn(async () => {
        // `writable` ends with the collector's own end of the connection.
        if (socket?.writable !== true) socket = await connect(config);
        const at = socket;
        const bytes = frame(lines, config.facility, sender);
        await within(at, writeMs, "has taken nothing", (done) => at.write(bytes, done));
      }),
    reopen: () => inTurn(end),
    close: () => inTurn(end),
  };
}

/** What is wrong with the files that a connection needs, with the setting that names each. */
export function fileProblems(config: SinkConfig): readonly string[] {
  if (config.kind !== "syslog") return [];
  if ((config.cert === undefined) !== (config.key === undefined))
    return ["cert: and key must both be there, or neither"];
  return (["ca", "cert", "key"] as const).flatMap((setting) => {
    const file = config[setting];
    try {
      if (file !== undefined) readFileSync(file);
      return [];
    } catch (error) {
      return [`${setting}: ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`];
    }
  });
}
