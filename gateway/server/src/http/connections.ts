// Who may hold a connection. Those in their handshake have a bound of their own, so that a stranger
// costs nobody a connection that is served; of the others there is one for all, one for each cluster and
// one for each identity, and the one that has been idle for longest makes room. (docs/architecture.md #limits.)
import type { X509Certificate } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Server } from "node:https";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { identityOf } from "@claviger/proto/runtime/certificates.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { handshakeFailureOf } from "@claviger/proto/wire/handshakes.ts";
import type { ConnectionBound, Metrics } from "../metrics.ts";
import { type ConnectionGroup, createConnectionGroups } from "./connection-groups.ts";
import type { HandshakeFailures, Refusal } from "./handshakes.ts";
import type { ListenLimits } from "./limits.ts";
import { createPacer } from "./pacer.ts";
import { findPath, isValidAt } from "@claviger/gateway-core/src/pki/trust.ts";

export type Connections = {
  /**
   * Closes every connection whose certificate none of these has signed, at once: also one that came
   * with an intermediate, and may come again.
   */
  trust(clientCa: readonly X509Certificate[]): void;
  /** Closes connections without a request under way, those in their handshake included. */
  closeIdle(): void;
  /** Open ones, handshakes included. */
  readonly count: () => number;
};

/** A handshake that takes longer may make room for a new one. */
const slowHandshakeMs = 2000;
/** Between two lines that say that a bound was reached. */
const quietMs = 60_000;

/** A connection before its handshake is done; `bundle` counts the client CAs that there have been. */
type Pending = {
  readonly socket: Socket;
  /** Monotonic milliseconds of the beginning; undefined while it waits for that. */
  since: number | undefined;
  bundle: number;
  /** Its failure has been recorded. */
  isRefused: boolean;
};
type Open = { readonly groups: readonly ConnectionGroup[]; requests: number };

/** The TCP socket and the TLS socket above it have these in common. */
function addressOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? ""} ${remotePort ?? ""}`;
}

export function createConnections({
  server,
  clientCa,
  limits,
  handshakes,
  isProxy,
  metrics,
  log,
  now = () => performance.now(),
}: {
  /** Its listeners of `secureConnection` are those of HTTP; from now on they see who is let in. */
  readonly server: Server;
  /** The client CAs at the start. */
  readonly clientCa: readonly X509Certificate[];
  readonly limits: Pick<
    ListenLimits,
    "connections" | "connectionsPerIdentity" | "connectionsPerCluster" | "handshakes"
  >;
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
  const groups = createConnectionGroups(limits);
  /** Those of `open` without a request under way; the one that has been idle for longest comes first. */
  const idle = new Set<TLSSocket>();
  let authorities = clientCa;
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
    const state = open.get(socket);
    open.delete(socket);
    idle.delete(socket);
    groups.delete(socket, state?.groups ?? []);
  };

  const close = (socket: TLSSocket): void => {
    // Forgotten at once: its close event comes later.
    forget(socket);
    socket.destroy();
  };

  const pacer = createPacer();
  /** The handshake to give up for a new one: of a peer that says nothing, or that takes too long. */
  const pendingToClose = (): Pending | undefined => {
    const refused = pending.values().find(({ isRefused }) => isRefused);
    if (refused !== undefined) return refused;
    const begun = pending.values().find(({ since }) => since !== undefined);
    // Where others wait for their turn, it is this process that is slow.
    if (pacer.waiting() === 0 && begun?.since !== undefined && now() - begun.since > slowHandshakeMs) return begun;
    return pending.values().find(({ since, socket }) => since !== undefined && socket.bytesRead === 0);
  };

  /** Node's own: they begin the handshake. */
  const beginHandshake = server.listeners("connection");
  server.removeAllListeners("connection");

  server.on("connection", (socket: Socket) => {
    const address = addressOf(socket);
    if (pending.size >= limits.handshakes) {
      reached("handshakes", address);
      const given = pendingToClose();
      if (given === undefined) return void socket.destroy();
      pending.delete(addressOf(given.socket));
      given.socket.destroy();
    }
    const own: Pending = { socket, since: undefined, bundle, isRefused: false };
    pending.set(address, own);
    socket.once("close", () => {
      if (pending.get(address) !== own) return;
      pending.delete(address);
      // Who has said hello is more than a port check.
      if (!own.isRefused) handshakes.failed(socket, { failure: socket.bytesRead > 0 ? "peer_left" : "closed" });
    });
    pacer.add(() => {
      if (socket.destroyed) return;
      Object.assign(own, { since: now(), bundle });
      for (const begin of beginHandshake) Reflect.apply(begin, server, [socket]);
    });
    return undefined;
  });

  server.on("tlsClientError", (error, socket) => {
    const code = (error as NodeJS.ErrnoException).code ?? error.name;
    const failure = handshakeFailureOf(code);
    // Any other error is that of a connection that closes.
    if (failure === undefined) return;
    const began = pending.get(addressOf(socket));
    if (began !== undefined) began.isRefused = true;
    handshakes.failed(socket, { failure, code });
  });

  /** What is wrong with the peer of a connection whose handshake is done; undefined for one that is let in. */
  const refusalOf = (socket: TLSSocket, certificate: X509Certificate): Refusal | undefined => {
    const began = pending.get(addressOf(socket));
    // The client CAs may have changed in the middle of the handshake.
    const isOfNow = began?.bundle === bundle;
    if (socket.authorized && isOfNow) return undefined;
    const path = findPath(certificate, authorities);
    if (!socket.authorized) {
      const code = String(socket.authorizationError);
      const failure = handshakeFailureOf(code) ?? "certificate_invalid";
      const isCaExpired = failure === "unknown_ca" && path !== undefined && !isValidAt(path.slice(1), Date.now());
      return { failure: isCaExpired ? "ca_expired" : failure, code, certificate };
    }
    return path === undefined ? { failure: "ca_removed", certificate } : undefined;
  };

  const refuse = (socket: TLSSocket, refusal: Refusal): void => {
    // It stays among the handshakes until it has been told, and is the first to make room.
    const began = pending.get(addressOf(socket));
    if (began !== undefined) began.isRefused = true;
    handshakes.refuse(socket, refusal);
  };

  const admit = (socket: TLSSocket): void => {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return refuse(socket, { failure: "no_certificate" });
    const refusal = refusalOf(socket, certificate);
    if (refusal !== undefined) return refuse(socket, refusal);
    pending.delete(addressOf(socket));
    const own = isProxy(certificate) ? [] : groups.of(certificate);
    for (const { bound, most, sockets } of own) {
      if (sockets.size < most) continue;
      reached(bound, identityOf(certificate));
      const oldest = sockets.values().find((other) => idle.has(other));
      if (oldest === undefined) return void socket.destroy();
      close(oldest);
    }
    if (open.size >= limits.connections) {
      reached("all", identityOf(certificate));
      const [oldest] = idle;
      if (oldest === undefined) return void socket.destroy();
      close(oldest);
    }
    groups.add(socket, own);
    open.set(socket, { groups: own, requests: 0 });
    idle.add(socket);
    socket.once("close", () => forget(socket));
    for (const serve of serveHttp) Reflect.apply(serve, server, [socket]);
    return undefined;
  };
  const serveHttp = server.listeners("secureConnection");
  server.removeAllListeners("secureConnection");
  server.on("secureConnection", admit);

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

  const count = (): number => open.size + pending.size;
  metrics.observeConnections(count);

  return {
    count,
    trust(next) {
      authorities = next;
      bundle += 1;
      for (const socket of open.keys()) {
        const certificate = socket.getPeerX509Certificate();
        if (certificate !== undefined && findPath(certificate, authorities) !== undefined) continue;
        log.info(
          { event: "connection-distrusted", names: certificate && identityOf(certificate) },
          "a connection is closed: the CA of its certificate was removed",
        );
        close(socket);
      }
    },
    closeIdle() {
      pacer.close();
      for (const socket of idle) close(socket);
      for (const [address, { socket }] of pending) {
        pending.delete(address);
        socket.destroy();
      }
    },
  };
}
