// Who may hold a connection: bounded over all and for each identity, the oldest idle one makes room;
// handshakes that fail are counted and summed up by peer. (docs/architecture.md #limits and #audit.)
import type { X509Certificate } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Server } from "node:https";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { Metrics } from "../metrics.ts";
import { isIssuedBy, splitPem } from "./trust.ts";

export type ConnectionLimits = {
  /** Connections of all, those in their handshake included. */
  readonly connections: number;
  readonly connectionsPerIdentity: number;
  /** Milliseconds for a TLS handshake. */
  readonly handshakeMs: number;
};

export type Connections = {
  /** Closes every connection whose certificate does not verify under this PEM bundle, at once. */
  trust(clientCa: string): void;
  /** Closes connections without a request under way, those that never had one included. */
  closeIdle(): void;
  /** Writes what is left to record. */
  close(): void;
};

type Failures = {
  count: number;
  readonly firstAt: number;
  readonly causes: Map<string, number>;
  /** Of the certificate that was refused last. */
  serial?: string;
  names?: string;
};

/** One audit record for each peer and interval. */
const intervalMs = 10_000;
const maxPeers = 1000;
const otherPeers = "others";

function namesOf(certificate: X509Certificate): string {
  return (certificate.subjectAltName ?? certificate.subject ?? "").slice(0, 256);
}

/** The kinds of failures that a metric tells apart. */
export type HandshakeFailure = "closed" | "timeout" | "certificate" | "protocol";

function kindOf(code: string, bytesRead: number): HandshakeFailure {
  if (code === "ERR_TLS_HANDSHAKE_TIMEOUT") return "timeout";
  return code === "ECONNRESET" || bytesRead === 0 ? "closed" : "protocol";
}

export function createConnections(
  server: Server,
  {
    limits,
    audit,
    metrics,
    log,
  }: {
    readonly limits: ConnectionLimits;
    readonly audit: AuditLog;
    readonly metrics: Metrics;
    readonly log: Log;
  },
): Connections {
  const all = new Set<Socket>();
  /** Connections without a request under way; the one that has been idle for longest comes first. */
  const idle = new Set<TLSSocket>();
  const byIdentity = new Map<string, Set<TLSSocket>>();
  const certificates = new Map<TLSSocket, X509Certificate>();
  let failures = new Map<string, Failures>();
  let timer: NodeJS.Timeout | undefined;

  const flush = (): void => {
    timer = undefined;
    for (const [peer, { count, firstAt, causes, serial, names }] of failures) {
      const cause = [...causes].map(([code, times]) => `${code} ×${times}`).join(", ");
      log.info({ event: "handshakes-failed", peer, count, cause, serial, names }, "TLS handshakes of a peer failed");
      audit
        .record({
          at: firstAt,
          method: "handshake",
          outcome: "denied",
          reason: "identity_invalid",
          milliseconds: Math.max(0, Date.now() - firstAt),
          count,
          cause,
          peer,
          ...(serial !== undefined && { serial }),
          ...(names !== undefined && { names }),
        })
        .catch(() => {});
    }
    failures = new Map();
  };

  const fail = (socket: TLSSocket, kind: HandshakeFailure, code: string, certificate?: X509Certificate): void => {
    metrics.handshakeFailed(kind);
    // A load balancer looks whether the port is open; that is no security event.
    if (kind === "closed") return;
    const address = socket.remoteAddress ?? "unknown";
    const peer = failures.has(address) || failures.size < maxPeers ? address : otherPeers;
    const known = failures.get(peer) ?? { count: 0, firstAt: Date.now(), causes: new Map<string, number>() };
    known.count += 1;
    known.causes.set(code, (known.causes.get(code) ?? 0) + 1);
    if (certificate !== undefined) {
      known.serial = certificate.serialNumber;
      known.names = namesOf(certificate);
    }
    failures.set(peer, known);
    timer ??= setTimeout(flush, intervalMs).unref();
  };

  const evict = (candidates: Iterable<TLSSocket>, why: string): boolean => {
    for (const socket of candidates) {
      if (!idle.has(socket)) continue;
      metrics.connectionClosed(why);
      // No longer to be chosen again before its close event comes.
      idle.delete(socket);
      socket.destroy();
      return true;
    }
    return false;
  };

  server.prependListener("connection", (socket: Socket) => {
    all.add(socket);
    socket.once("close", () => all.delete(socket));
    if (all.size <= limits.connections) return;
    if (!evict(idle, "all")) socket.destroy();
    log.debug({ event: "connection-refused", connections: all.size }, "too many connections: the oldest idle one goes");
  });

  server.prependListener("secureConnection", (socket: TLSSocket) => {
    const certificate = socket.getPeerX509Certificate();
    if (!socket.authorized || certificate === undefined) {
      const error: unknown = socket.authorizationError;
      fail(socket, "certificate", certificate === undefined ? "no certificate" : String(error), certificate);
      socket.destroy();
      return;
    }
    const identity = certificate.subjectAltName ?? certificate.fingerprint256;
    const own = byIdentity.get(identity) ?? new Set();
    byIdentity.set(identity, own);
    own.add(socket);
    idle.add(socket);
    certificates.set(socket, certificate);
    socket.once("close", () => {
      own.delete(socket);
      idle.delete(socket);
      certificates.delete(socket);
      if (own.size === 0 && byIdentity.get(identity) === own) byIdentity.delete(identity);
    });
    if (own.size > limits.connectionsPerIdentity && !evict(own, "identity")) socket.destroy();
  });

  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const socket = request.socket as TLSSocket;
    idle.delete(socket);
    response.once("close", () => {
      if (!socket.destroyed) idle.add(socket);
    });
  });

  server.on("tlsClientError", (error: Error, socket: TLSSocket) => {
    const code = (error as NodeJS.ErrnoException).code ?? error.name;
    fail(socket, kindOf(code, socket.bytesRead), code);
  });

  metrics.observeConnections(() => all.size);

  return {
    trust(clientCa) {
      const authorities = splitPem(clientCa);
      for (const [socket, certificate] of certificates) {
        if (isIssuedBy(certificate, authorities)) continue;
        log.info({ event: "connection-distrusted", names: namesOf(certificate) }, "a certificate's CA is gone: closed");
        socket.destroy();
      }
    },
    closeIdle() {
      for (const socket of idle) socket.destroy();
    },
    close() {
      clearTimeout(timer);
      flush();
    },
  };
}
