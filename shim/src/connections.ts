// The connections to the unix socket. Whoever connects is kube-apiserver or a local nuisance: bounded in
// number, and in the time until it speaks HTTP/2. (docs/architecture.md #shim; docs/kms-contract.md section
// 1.6.)
import { createServer, type Server, type Socket } from "node:net";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";

/** kube-apiserver sends the HTTP/2 preface at once; whoever has not after this long is not one. */
const prefaceMs = 10_000;
const prefaceBytes = 24;
/**
 * At the bound, a connection of at least this age that has said less than any other makes way for a
 * new one.
 */
const silentMs = 1000;
/**
 * The HTTP/2 frame GOAWAY that names no last stream: make further calls elsewhere, what is on its
 * way is still taken. node:http2 writes whole frames, so ours stands between two of them; its own
 * `goaway` would drop the very calls that this is for. (RFC 9113 section 6.8.)
 */
const goAwaySoon = Buffer.from("0000080700000000007fffffff00000000", "hex");

export type Connections = {
  /** Listens where the caller says; owned by it. */
  readonly socketServer: Server;
  /** Tells those that speak HTTP/2 to make further calls elsewhere; what is on its way is still taken. */
  sayGoAway(): void;
  /** Ends those that have not begun to speak. */
  endUnproven(): void;
  endAll(): void;
};

/** @param serve takes a connection that speaks HTTP/2 */
export function createConnections({
  maxConnections,
  log,
  serve,
}: {
  readonly maxConnections: number;
  readonly log: Log;
  readonly serve: (socket: Socket) => void;
}): Connections {
  const sockets = new Map<Socket, number>();
  const unproven = new Set<Socket>();

  // Only what begins like HTTP/2 reaches it; half a preface costs a file descriptor for ten
  // seconds.
  const admit = (socket: Socket): void => {
    const timer = setTimeout(() => socket.destroy(), prefaceMs);
    unproven.add(socket);
    const prove = (): void => {
      clearTimeout(timer);
      unproven.delete(socket);
    };
    const onReadable = (): void => {
      if (socket.readableLength < prefaceBytes) return;
      prove();
      socket.off("readable", onReadable);
      serve(socket);
    };
    socket.on("readable", onReadable);
    socket.once("close", prove);
  };

  // A kube-apiserver has said much; whoever only holds connections open must not keep a new
  // kube-apiserver out.
  const quietest = (): Socket | undefined => {
    const bound = steadyNow() - silentMs;
    const old = [...sockets].filter(([, since]) => since < bound).map(([socket]) => socket);
    return old.toSorted((a, b) => a.bytesRead - b.bytesRead)[0];
  };

  const socketServer = createServer({ pauseOnConnect: false }, (socket) => {
    socket.on("error", () => {});
    if (sockets.size >= maxConnections) {
      const silent = quietest();
      log.warn({ event: "connection-refused", connections: sockets.size }, "too many connections to the socket");
      if (silent === undefined) {
        socket.destroy();
        return;
      }
      sockets.delete(silent);
      silent.destroy();
    }
    sockets.set(socket, steadyNow());
    socket.once("close", () => sockets.delete(socket));
    admit(socket);
  });

  return {
    socketServer,
    sayGoAway() {
      for (const socket of sockets.keys()) if (!unproven.has(socket)) socket.write(goAwaySoon);
    },
    endUnproven() {
      for (const socket of unproven) socket.destroy();
    },
    endAll() {
      for (const socket of sockets.keys()) socket.destroy();
    },
  };
}
