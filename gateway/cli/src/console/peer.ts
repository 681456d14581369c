// Whose program it is that has connected from this machine, where the system says it (Linux: proc(5), /proc/net/tcp).
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";

function hexPort(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}

/**
 * @param table the text of /proc/net/tcp
 * @param from the port of the program that has connected
 * @param to the port that it has connected to
 * @returns its user's id; undefined where the table has no such connection
 */
export function uidOf(table: string, from: number, to: number): number | undefined {
  // 127.0.0.1, as a little-endian machine writes it.
  const [local, remote] = [`0100007F:${hexPort(from)}`, `0100007F:${hexPort(to)}`];
  for (const line of table.split("\n")) {
    const [, own, other, , , , , uid] = line.trim().split(/\s+/);
    if (own === local && other === remote) return Number(uid);
  }
  return undefined;
}

/** Undefined where nobody can say. */
export function peerUid({ remotePort, localPort }: Socket): number | undefined {
  if (remotePort === undefined || localPort === undefined) return undefined;
  try {
    return uidOf(readFileSync("/proc/net/tcp", "utf8"), remotePort, localPort);
  } catch {
    return undefined;
  }
}
