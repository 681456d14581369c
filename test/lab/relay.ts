// A way to a server of ours on which every byte takes a while, as to another continent.
import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

export type Relay = {
  readonly port: number;
  /** Connections so far. */
  readonly connections: () => number;
  close(): void;
};

/** @param delayMs of a round trip, that of TCP's handshake included: half of it each way */
export async function startRelay(target: number, delayMs: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const track = (socket: Socket): Socket => socket.on("error", () => {}).once("close", () => sockets.delete(socket));
  const server = createServer({ noDelay: true }, (near) => {
    connections += 1;
    const far = connect({ host: "127.0.0.1", port: target, noDelay: true });
    for (const socket of [near, far]) sockets.add(track(socket));
    const pass = (from: Socket, to: Socket): void => {
      from.on("data", (chunk) => setTimeout(() => void (to.destroyed || to.write(chunk)), delayMs / 2));
      from.on("close", () => to.destroy());
    };
    // That of TCP's handshake.
    setTimeout(() => {
      pass(near, far);
      pass(far, near);
    }, delayMs);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
