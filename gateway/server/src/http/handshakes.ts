// TLS handshakes that fail: counted, and summed up by peer and interval, so that what a disk must
// take does not grow with what a peer tries. (docs/architecture.md #audit.)
import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { HandshakeFailure, Metrics } from "../metrics.ts";

export type HandshakeFailures = {
  /**
   * Closes a connection whose handshake is done but whose peer is not let in.
   * @param cause what is wrong; from a closed set
   */
  refuse(socket: TLSSocket, cause: string, certificate?: X509Certificate): void;
  /** A handshake that did not come to its end. */
  failed(error: Error, socket: TLSSocket): void;
  /** Records what has not been recorded yet. */
  close(): void;
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

/** The names in a certificate, at most 256 characters. */
export function namesOf({ subjectAltName, subject }: X509Certificate): string {
  return (subjectAltName ?? subject ?? "").slice(0, 256);
}

function kindOf(code: string): HandshakeFailure {
  if (code === "ERR_TLS_HANDSHAKE_TIMEOUT") return "timeout";
  return code.startsWith("ERR_SSL_") ? "protocol" : "closed";
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

  const add = (
    socket: TLSSocket,
    { kind, cause, certificate }: { kind: HandshakeFailure; cause: string; certificate?: X509Certificate },
  ): void => {
    metrics.handshakeFailed(kind);
    // A load balancer looks whether the port is open; that is no security event.
    if (kind === "closed") return;
    const address = socket.remoteAddress ?? "unknown";
    const peer = sums.has(address) || sums.size < maxPeers ? address : otherPeers;
    let sum = sums.get(peer);
    if (sum === undefined) {
      sum = { count: 0, firstAt: Date.now(), lastAt: 0, causes: new Map() };
      sums.set(peer, sum);
      const of = certificate && { serial: certificate.serialNumber, names: namesOf(certificate) };
      log.info(
        { event: "handshake-failed", peer, cause, serial: of?.serial, names: of?.names },
        "a TLS handshake failed; further ones of this peer are summed up in the audit log",
      );
    }
    sum.count += 1;
    sum.lastAt = Date.now();
    sum.causes.set(cause, (sum.causes.get(cause) ?? 0) + 1);
    if (certificate !== undefined) {
      sum.serial = certificate.serialNumber;
      sum.names = namesOf(certificate);
    }
    timer ??= setTimeout(flush, intervalMs).unref();
  };

  return {
    refuse(socket, cause, certificate) {
      add(socket, { kind: "certificate", cause, ...(certificate !== undefined && { certificate }) });
      socket.destroy();
    },
    failed(error, socket) {
      const cause = (error as NodeJS.ErrnoException).code ?? error.name;
      add(socket, { kind: kindOf(cause), cause });
    },
    close() {
      clearTimeout(timer);
      flush();
    },
  };
}
