// A syslog collector on a unix stream socket that can stop reading, as one does whose disk hangs.
import { once } from "node:events";
import { createServer, type Socket } from "node:net";

export type Collector = {
  readonly path: string;
  /** Whether it reads what comes. */
  read(isReading: boolean): void;
  close(): void;
};

export async function startCollector(path: string): Promise<Collector> {
  const sockets = new Set<Socket>();
  let isReading = true;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).once("close", () => sockets.delete(socket));
    socket.on("data", () => {});
    if (!isReading) socket.pause();
  });
  await once(server.listen(path), "listening");
  return {
    path,
    read(next) {
      isReading = next;
      for (const socket of sockets)
        if (isReading) socket.resume();
        else socket.pause();
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
