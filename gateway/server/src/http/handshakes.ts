// TLS handshakes that fail: counted, and summed up by peer and interval, so that what a disk must
// take does not grow with what a peer tries. (docs/architecture.md #audit.)
import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import { identityOf } from "@claviger/proto/runtime/certificates.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { describeHandshakeFailure, type HandshakeFailure } from "@claviger/proto/wire/handshakes.ts";
import { headers } from "@claviger/proto/wire/protocol.ts";
import type { HandshakeKind, Metrics } from "../metrics.ts";

export type HandshakeFailures = {
  /**
   * Tells the peer of a connection whose handshake is done why it is not let in, and closes it. No
   * byte of what it sends is looked at.
   * @param code of the TLS library, where it said so
   */
  refuse(socket: TLSSocket, refusal: Refusal): void;
  /** A handshake that did not come to its end. */
  failed(socket: Socket, refusal: Refusal): void;
  /** Records what has not been recorded yet. */
  close(): void;
};

export type Refusal = {
  readonly failure: HandshakeFailure;
  readonly code?: string;
  readonly certificate?: X509Certificate;
};

type Sum = {
  count: number;
  readonly firstAt: number;
  lastAt: number;
  readonly causes: Map<string, number>;
  /** Of the certificate that was refused last. */
  serial?: string;
  names?: string;
};

/** One audit record for each peer and interval. */
const intervalMs = 60_000;
const maxPeers = 256;
/** All peers beyond those. */
const otherPeers = "others";

/** For a refused peer to read why. */
const partingMs = 1000;

function kindOf(failure: HandshakeFailure): HandshakeKind {
  if (failure === "timeout" || failure === "closed") return failure;
  return failure === "protocol" || failure === "peer_refused" || failure === "peer_left" ? "protocol" : "certificate";
}

/** The name, and the code of the TLS library where several have that name. */
function causeOf({ failure, code }: Refusal): string {
  const isOne = code === undefined || failure === "timeout" || failure === "certificate_expired";
  return isOne ? failure : `${failure} (${code})`;
}

/**
 * TLS 1.3 lets a client send before its certificate is verified, and node:tls sends no alert: the
 * answer to whatever was asked says it.
 */
function part(socket: TLSSocket, failure: HandshakeFailure): void {
  const timer = setTimeout(() => socket.destroy(), partingMs);
  socket.once("close", () => clearTimeout(timer));
  socket.on("error", () => socket.destroy());
  socket.resume();
  socket.end(
    `HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n${headers.handshake}: ${failure}\r\ncontent-length: 0\r\n\r\n`,
  );
}

export function createHandshakeFailures({
  audit,
  metrics,
  log,
}: {
  readonly audit: AuditLog;
  readonly metrics: Metrics;
  readonly log: Log;
}): HandshakeFailures {
  let sums = new Map<string, Sum>();
  let timer: NodeJS.Timeout | undefined;

  const flush = (): void => {
    timer = undefined;
    for (const [peer, { count, firstAt, lastAt, causes, serial, names }] of sums) {
      audit
        .record({
          at: firstAt,
          method: "handshake",
          outcome: "denied",
          reason: "identity_invalid",
          milliseconds: Math.max(0, lastAt - firstAt),
          count,
          cause: [...causes].map(([code, times]) => `${code} ×${times}`).join(", "),
          peer,
          ...(serial !== undefined && { serial }),
          ...(names !== undefined && { names }),
        })
        .catch(() => {
          // /readyz says that no sink takes records.
        });
    }
    sums = new Map();
  };

  const add = (socket: Socket, refusal: Refusal): void => {
    const { failure, certificate } = refusal;
    metrics.handshakeFailed(kindOf(failure), failure);
    // A load balancer looks whether the port is open; that is no security event.
    if (failure === "closed") return;
    const cause = causeOf(refusal);
    const address = socket.remoteAddress ?? "unknown";
    const peer = sums.has(address) || sums.size < maxPeers ? address : otherPeers;
    let sum = sums.get(peer);
    if (sum === undefined) {
      sum = { count: 0, firstAt: Date.now(), lastAt: 0, causes: new Map() };
      sums.set(peer, sum);
      const of = certificate && { serial: certificate.serialNumber, names: identityOf(certificate) };
      log.info(
        {
          event: "handshake-failed",
          peer,
          cause,
          what: describeHandshakeFailure(failure),
          serial: of?.serial,
          names: of?.names,
        },
        "a TLS handshake failed; further ones of this peer are summed up in the audit log",
      );
    }
    sum.count += 1;
    sum.lastAt = Date.now();
    sum.causes.set(cause, (sum.causes.get(cause) ?? 0) + 1);
    if (certificate !== undefined) {
      sum.serial = certificate.serialNumber;
      sum.names = identityOf(certificate);
    }
    timer ??= setTimeout(flush, intervalMs).unref();
  };

  return {
    refuse(socket, refusal) {
      add(socket, refusal);
      part(socket, refusal.failure);
    },
    failed: add,
    close() {
      clearTimeout(timer);
      flush();
    },
  };
}
