// Who may hold a connection. Those in their handshake have a bound of their own, so that a stranger
// costs nobody a connection that is served; of the others there is one for all and one for each
// identity, and the one that has been idle for longest makes room. (docs/architecture.md #limits.)
import type { X509Certificate } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Server } from "node:https";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { ConnectionBound, Metrics } from "../metrics.ts";
import { type HandshakeFailures, namesOf } from "./handshakes.ts";
import type { ListenLimits } from "./limits.ts";
import { isIssuedBy, splitPem } from "./trust.ts";

export type Connections = {
  /** Closes every connection whose certificate does not verify under this PEM bundle, at once. */
  trust(clientCa: string): void;
  /** Closes connections without a request under way, those in their handshake included. */
  closeIdle(): void;
};

/** A handshake that takes longer may make room for a new one. */
const slowHandshakeMs = 2000;
/** Between two lines that say that a bound was reached. */
const quietMs = 60_000;

/** A connection in its handshake; `bundle` counts the client CAs that there have been. */
type Pending = { readonly socket: Socket; readonly since: number; readonly bundle: number };
type Open = { readonly identity: string; requests: number };

/** The TCP socket and the TLS socket above it have these in common. */
function addressOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? ""} ${remotePort ?? ""}`;
}

export function createConnections({
  server,
  limits,
  handshakes,
  isProxy,
  metrics,
  log,
  now = () => performance.now(),
}: {
  readonly server: Server;
  readonly limits: Pick<ListenLimits, "connections" | "connectionsPerIdentity" | "handshakes">;
  readonly handshakes: HandshakeFailures;
  /** A proxy speaks for many: only the bound of all counts for it. */
  readonly isProxy: (certificate: X509Certificate) => boolean;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Monotonic milliseconds */
  readonly now?: () => number;
}): Connections {
  /** By address; the oldest comes first. */
  const pending = new Map<string, Pending>();
  const open = new Map<TLSSocket, Open>();
  const byIdentity = new Map<string, Set<TLSSocket>>();
  /** Those of `open` without a request under way; the one that has been idle for longest comes first. */
  const idle = new Set<TLSSocket>();
  let authorities: readonly X509Certificate[] = [];
  let bundle = 0;
  let quietUntil = Number.NEGATIVE_INFINITY;

  const reached = (bound: ConnectionBound, who: string): void => {
    metrics.connectionClosed(bound);
    if (now() < quietUntil) return;
    quietUntil = now() + quietMs;
    log.warn(
      { event: "connections-full", bound, who, open: open.size, handshakes: pending.size },
      "a bound of connections is reached; some are closed",
    );
  };

  const forget = (socket: TLSSocket): void => {
    const identity = open.get(socket)?.identity ?? "";
    open.delete(socket);
    idle.delete(socket);
    const own = byIdentity.get(identity);
    own?.delete(socket);
    if (own?.size === 0) byIdentity.delete(identity);
  };

  const close = (socket: TLSSocket): void => {
    // Forgotten at once: its close event comes later.
    forget(socket);
    socket.destroy();
  };

  /** The handshake to give up for a new one: of a peer that says nothing, or that takes too long. */
  const pendingToClose = (): Pending | undefined => {
    const [oldest] = pending.values();
    if (oldest !== undefined && now() - oldest.since > slowHandshakeMs) return oldest;
    return pending.values().find(({ socket }) => socket.bytesRead === 0);
  };

  server.prependListener("connection", (socket: Socket) => {
    const address = addressOf(socket);
    if (pending.size >= limits.handshakes) {
      reached("handshakes", address);
      const given = pendingToClose();
      if (given === undefined) return void socket.destroy();
      pending.delete(addressOf(given.socket));
      given.socket.destroy();
    }
    const own: Pending = { socket, since: now(), bundle };
    pending.set(address, own);
    socket.once("close", () => {
      if (pending.get(address) === own) pending.delete(address);
    });
    return undefined;
  });

  server.prependListener("secureConnection", (socket: TLSSocket) => {
    const began = pending.get(addressOf(socket));
    pending.delete(addressOf(socket));
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return handshakes.refuse(socket, "no certificate");
    if (!socket.authorized) return handshakes.refuse(socket, String(socket.authorizationError), certificate);
    // The client CA may have changed in the middle of the handshake.
    if (began?.bundle !== bundle && !isIssuedBy(certificate, authorities))
      return handshakes.refuse(socket, "CA removed", certificate);

    const identity = certificate.subjectAltName ?? certificate.fingerprint256;
    const own = byIdentity.get(identity) ?? new Set();
    if (own.size >= limits.connectionsPerIdentity && !isProxy(certificate)) {
      reached("identity", namesOf(certificate));
      const oldest = own.values().find((other) => idle.has(other));
      if (oldest === undefined) return void socket.destroy();
      close(oldest);
    } else if (open.size >= limits.connections) {
      reached("all", namesOf(certificate));
      const [oldest] = idle;
      if (oldest === undefined) return void socket.destroy();
      close(oldest);
    }
    byIdentity.set(identity, own);
    own.add(socket);
    open.set(socket, { identity, requests: 0 });
    idle.add(socket);
    socket.once("close", () => forget(socket));
    return undefined;
  });

  server.on("request", ({ socket: under }: IncomingMessage, response: ServerResponse) => {
    const socket = under as TLSSocket;
    const state = open.get(socket);
    if (state === undefined) return;
    // More than one where the caller does not wait for the answers.
    state.requests += 1;
    idle.delete(socket);
    response.once("close", () => {
      state.requests -= 1;
      if (state.requests === 0 && open.has(socket)) idle.add(socket);
    });
  });

  metrics.observeConnections(() => open.size + pending.size);

  return {
    trust(clientCa) {
      authorities = splitPem(clientCa);
      bundle += 1;
      for (const socket of open.keys()) {
        const certificate = socket.getPeerX509Certificate();
        if (certificate !== undefined && isIssuedBy(certificate, authorities)) continue;
        log.info(
          { event: "connection-distrusted", names: certificate && namesOf(certificate) },
          "a connection is closed: the CA of its certificate was removed",
        );
        close(socket);
      }
    },
    closeIdle() {
      for (const socket of idle) close(socket);
      for (const { socket } of pending.values()) socket.destroy();
    },
  };
}
