// What callers may use up on the listener: the `listen.limits` settings, and where they leave it
// open, what the process has of memory and open files. (docs/architecture.md #limits.)
import { defaultListenSettings, type ListenSettings } from "@claviger/gateway-core/src/config.ts";

export type ListenLimits = {
  /** Connections whose handshake is done. */
  readonly connections: number;
  readonly connectionsPerIdentity: number;
  readonly connectionsPerCluster: number;
  /** Connections that are in their handshake. */
  readonly handshakes: number;
  /** Milliseconds for a TLS handshake. */
  readonly handshakeMs: number;
  /** Milliseconds for a request's headers, again for its body, and again for the reply to be taken. */
  readonly headersMs: number;
  readonly bodyMs: number;
  /** Bytes of the bodies that are being read: of all, and of one identity. */
  readonly bodyBytes: number;
  readonly bodyBytesPerIdentity: number;
  /** Milliseconds that an idle connection is kept. */
  readonly idleMs: number;
};

/** What the process may use; undefined where there is no bound or it is not known. */
export type Resources = { readonly memoryBytes: number | undefined; readonly openFiles: number | undefined };

const mebibyte = 2 ** 20;
/** What a gateway with a fleet's keys takes before anybody connects. */
const ownMemory = 224 * mebibyte;
/** One TLS connection with a request on it; 70 to 90 KiB were measured. */
const connectionMemory = 96 * 1024;
/** One connection in its handshake; 18 KiB were measured of a silent one. */
const handshakeMemory = 48 * 1024;
const mostConnections = 20_000;
const mostHandshakes = 1024;
/** Files for the registry, audit sinks, /readyz and the connections to Vault and Redis. */
const ownFiles = 256;

/** Bytes that remain for connections once bodies are full; each body stands twice for a moment. */
function roomOf({ bodyBytes }: ListenSettings, memoryBytes: number): number {
  return Math.max(0, memoryBytes - ownMemory - 1.5 * bodyBytes);
}

/**
 * The limits for this process. Where `connections` is not set, as many as fit into memory; never
 * more than there are files for, whatever is set.
 */
export function resolveListenLimits(settings: ListenSettings, { memoryBytes, openFiles }: Resources): ListenLimits {
  const room = memoryBytes === undefined ? Number.POSITIVE_INFINITY : roomOf(settings, memoryBytes);
  // A process with few files keeps half of them for itself.
  const files = openFiles === undefined ? Number.POSITIVE_INFINITY : openFiles - Math.min(ownFiles, openFiles / 2);
  const handshakes = Math.floor(Math.max(8, Math.min(mostHandshakes, files / 4, room / 4 / handshakeMemory)));
  const fitting = Math.max(64, (room - handshakes * handshakeMemory) / connectionMemory);
  const wanted = settings.connections ?? Math.min(mostConnections, fitting);
  return {
    connections: Math.floor(Math.max(8, Math.min(wanted, files - handshakes))),
    connectionsPerIdentity: settings.connectionsPerIdentity,
    connectionsPerCluster: settings.connectionsPerCluster,
    handshakes,
    handshakeMs: settings.handshake,
    headersMs: settings.headers,
    bodyMs: settings.body,
    bodyBytes: settings.bodyBytes,
    bodyBytesPerIdentity: settings.bodyBytesPerIdentity,
    idleMs: settings.idle,
  };
}

/** Those of a process without a bound on memory or files. */
export const defaultListenLimits: ListenLimits = resolveListenLimits(defaultListenSettings, {
  memoryBytes: undefined,
  openFiles: undefined,
});

/**
 * The soft limit of open files in the text of Linux' /proc/self/limits; Node has raised it to the
 * hard one by the time that anybody reads this.
 */
export function parseOpenFiles(procLimits: string): number | undefined {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(procLimits) ?? [];
  return soft === undefined ? undefined : Number(soft);
}
