// What --check says of the certificate that another server shows: until when it is valid. Whether it is
// trusted is for the step that connects in earnest.
import { once } from "node:events";
import { isIP } from "node:net";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { Finding, Found } from "./check.ts";
import { describeExpiry, judgeCertificates } from "./expiry.ts";

/** Where a server is, and what it asks for. */
export type Peer = Pick<ConnectionOptions, "host" | "port" | "cert" | "key"> & {
  /** The name that it is asked for, where that is not `host`. */
  readonly serverName?: string | undefined;
};

/** The peer of a URL; undefined for one without TLS. */
export function peerOfUrl(address: string): Peer | undefined {
  const { protocol, hostname, port } = new URL(address);
  if (protocol !== "https:") return undefined;
  return { host: hostname.replace(/^\[|\]$/g, ""), port: port === "" ? 443 : Number(port) };
}

const leaveMs = 500;

/** Waits until the server has seen the end: one that is torn away from is a failed handshake in its metrics. */
async function leave(socket: TLSSocket, signal: AbortSignal): Promise<void> {
  socket.resume().end();
  const patience = AbortSignal.any([signal, AbortSignal.timeout(leaveMs)]);
  await once(socket, "close", { signal: patience }).catch(() => {});
  socket.destroy();
}

/** Connects, and leaves after the handshake. @throws the system's error, or AbortError */
async function handshake({ serverName, ...peer }: Peer, signal: AbortSignal): Promise<TLSSocket> {
  const name = serverName ?? peer.host ?? "";
  // Nothing is sent, so nobody has to be trusted.
  const socket = connect({ ...peer, ...(isIP(name) === 0 && { servername: name }), rejectUnauthorized: false });
  try {
    await once(socket, "secureConnect", { signal });
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    socket.on("error", () => {});
  }
}

/**
 * Adds to what a step found how long the server's certificate is valid, with a warning where a third of
 * its life or less is left.
 * @param peers each is asked by itself; one that cannot be asked says nothing
 * @param now Unix milliseconds
 */
export async function withPeerExpiry<T>(
  found: Found<T>,
  peers: readonly (Peer | undefined)[],
  signal: AbortSignal,
  now: number = Date.now(),
): Promise<Found<T>> {
  const states = await Promise.all(
    peers.map(async (peer) => {
      if (peer === undefined) return undefined;
      const socket = await handshake(peer, signal).catch(() => undefined);
      const certificate = socket?.getPeerX509Certificate();
      if (socket !== undefined) await leave(socket, signal);
      if (certificate === undefined) return undefined;
      return judgeCertificates({ role: "peer", kind: "chain", read: () => [certificate] }, now);
    }),
  );
  const known = states.flatMap((state) => (state === undefined ? [] : [state]));
  const soonest = known.toSorted((a, b) => (a.secondsLeft ?? 0) - (b.secondsLeft ?? 0))[0];
  if (soonest === undefined) return found;
  const text = `the server's certificate: ${describeExpiry(soonest)}`;
  if (soonest.level === "ok") return { ...found, found: found.found === "" ? "" : `${found.found}; ${text}` };
  const warning: Finding = {
    verdict: "warning",
    found: text,
    cure: "have it renewed: nobody connects once it has expired",
  };
  return { ...found, more: [...(found.more ?? []), warning] };
}
