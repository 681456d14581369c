// Faults between two parts: a proxy that passes everything on until it is told to do something
// else. For OpenBao by HTTP, for a gateway by TCP.
import {
  createServer as createHttpServer,
  type IncomingMessage,
  request as httpRequest,
  type ServerResponse,
} from "node:http";
import { connect, createServer as createTcpServer, type Socket } from "node:net";
import { freePorts } from "./process-group.ts";

/** Statuses are answered to Transit calls alone, so that logins go on; the rest hits everything. */
export type Fault = "none" | "refuse" | "hang" | "garbage" | "sealed" | "forbid-decrypt" | `${number}`;

export type Proxy = {
  readonly url: string;
  readonly port: number;
  set(fault: Fault): Promise<void>;
  /** Encrypt and Decrypt calls so far. */
  readonly calls: () => number;
  close(): Promise<void>;
};

type Listener = {
  close(callback: () => void): unknown;
  listen(port: number, host: string, callback: () => void): unknown;
};

// A server that can stop listening and start again on the same port, with its connections cut.
function switchable(server: Listener, port: number, sockets: Set<Socket>) {
  let isListening = false;
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    cut,
    async listen(): Promise<void> {
      if (!isListening) await new Promise<void>((resolve) => void server.listen(port, "127.0.0.1", resolve));
      isListening = true;
    },
    async stop(): Promise<void> {
      const closed = new Promise<void>((resolve) => void server.close(resolve));
      cut();
      if (isListening) await closed;
      isListening = false;
    },
  };
}

function track(sockets: Set<Socket>) {
  return (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
  };
}

/** In front of an OpenBao at `addr`. */
export async function startFaultyVault(
  addr: string,
): Promise<Proxy & { /** Encrypt and Decrypt calls that hang now. */ readonly hanging: () => number }> {
  const [port = 0] = await freePorts(1);
  const sockets = new Set<Socket>();
  let fault: Fault = "none";
  let calls = 0;
  let hanging = 0;
  const hang = (response: ServerResponse): void => {
    hanging += 1;
    response.once("close", () => (hanging -= 1));
  };
  const pass = (request: IncomingMessage, response: ServerResponse): void => {
    const onward = httpRequest(
      `${addr}${request.url ?? "/"}`,
      { method: request.method, headers: request.headers },
      (reply) => {
        response.writeHead(reply.statusCode ?? 502, reply.headers);
        reply.pipe(response);
      },
    );
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  };
  const answer = (response: ServerResponse, status: number, error: string): void => {
    response.writeHead(status, { "content-type": "application/json", ...(status === 429 && { "retry-after": "1" }) });
    response.end(JSON.stringify({ errors: [error] }));
  };
  const server = createHttpServer((request, response) => {
    const path = request.url ?? "/";
    const isTransit = path.startsWith("/v1/transit/");
    const isCall = /\/(encrypt|decrypt)\//.test(path);
    if (isCall) calls += 1;
    if (fault === "hang") return isCall ? hang(response) : undefined;
    if (fault === "garbage") return void request.socket.end("\u0015\u0003garbage\r\n\r\n");
    if (fault === "sealed") return answer(response, 503, "Vault is sealed");
    if (fault === "forbid-decrypt" && path.includes("/decrypt/")) return answer(response, 403, "permission denied");
    if (/^\d+$/.test(fault) && isTransit) return answer(response, Number(fault), "made up by the test");
    return pass(request, response);
  });
  server.on("connection", track(sockets));
  const line = switchable(server, port, sockets);
  await line.listen();
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    calls: () => calls,
    hanging: () => hanging,
    async set(next) {
      fault = next;
      if (next === "refuse") return await line.stop();
      await line.listen();
      // Calls that hang are let go; idle connections may stay.
      if (next === "none") line.cut();
    },
    close: () => line.stop(),
  };
}

/** In front of any TCP server: knows none, refuse, hang and garbage. */
export async function startFaultyTcp(target: () => number): Promise<Proxy> {
  const [port = 0] = await freePorts(1);
  const sockets = new Set<Socket>();
  let fault: Fault = "none";
  const server = createTcpServer((socket) => {
    track(sockets)(socket);
    if (fault === "hang") return;
    if (fault === "garbage") {
      socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
      return;
    }
    const onward = connect(target(), "127.0.0.1");
    track(sockets)(onward);
    socket.pipe(onward).pipe(socket);
    socket.once("close", () => onward.destroy());
    onward.once("close", () => socket.destroy());
  });
  const line = switchable(server, port, sockets);
  await line.listen();
  return {
    url: `https://127.0.0.1:${port}`,
    port,
    calls: () => 0,
    async set(next) {
      fault = next;
      if (next === "refuse") return await line.stop();
      await line.listen();
      line.cut();
    },
    close: () => line.stop(),
  };
}
