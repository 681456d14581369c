// What stands between two parts and can go wrong in each way there is: for Vault, Redis, a collector and
// a gateway alike. Connections are treated alike for all; answers are made up for HTTP alone.
import { createServer as createHttpServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { request as secureRequest } from "node:https";
import { createServer as createTlsServer } from "node:tls";
import type { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";

/** PEM. */
export type ServerPair = { readonly cert: string; readonly key: string };

export type Asked = { readonly method: string; readonly path: string; readonly body: Buffer };
export type Answer = {
  readonly status: number;
  readonly body: string | Buffer;
  readonly headers?: IncomingMessage["headers"];
};

export type Way =
  | { readonly kind: "pass" }
  /** Nothing listens there. */
  | { readonly kind: "refuse" }
  /** What is said takes half of it each way, milliseconds. */
  | { readonly kind: "slow"; readonly ms: number }
  /** Takes connections, and says nothing. */
  | { readonly kind: "silent" }
  /** Closes each connection in the middle of its first answer. */
  | { readonly kind: "close" }
  /** Answers with bytes of no protocol. */
  | { readonly kind: "garbage" }
  /** Another server is there. */
  | { readonly kind: "other"; readonly port: number }
  /** Shows another certificate. Where the other end speaks TLS itself, all answers are 503. */
  | { readonly kind: "certificate"; readonly pair: ServerPair }
  /** Answers HTTP in place of the server; what it gives no answer for is passed on. */
  | {
      readonly kind: "answer";
      readonly pair?: ServerPair;
      readonly answer: (
        asked: Asked,
        passed: () => Promise<Answer>,
      ) => Promise<Answer | undefined> | Answer | undefined;
    };

export type FaultProxy = {
  readonly port: number;
  /** Treats what comes so; what is open is cut, except where it only becomes slow or quick. */
  set(way: Way): Promise<void>;
  /** Cuts what is open. */
  cut(): void;
  close(): Promise<void>;
};

export type FaultProxyOptions = {
  readonly target: () => number;
  /** Ends TLS here with this certificate; plain text is passed on. Absent: bytes are passed on as they are. */
  readonly pair?: ServerPair;
  /** What is offered for ALPN with it, e.g. `h2` for gRPC. */
  readonly alpn?: readonly string[];
  /** What the target is shown, and trusted by, where it speaks TLS itself and answers are made up here. */
  readonly client?: ServerPair & { readonly ca: string };
  /** Where to listen; any free one when absent. */
  readonly port?: number;
  readonly host?: string;
};

/** What a web server that knows nothing of the request says. */
export const html: Answer = { status: 200, body: "<html>welcome</html>", headers: { "content-type": "text/html" } };

const garbage = "\u0015\u0003garbage\r\n\r\n";

/** Passes everything on until it is told otherwise. */
export async function startFaultProxy({
  target,
  pair,
  alpn,
  client,
  port = 0,
  host = "127.0.0.1",
}: FaultProxyOptions): Promise<FaultProxy> {
  const open = new Set<Duplex>();
  let way: Way = { kind: "pass" };
  const track = <T extends Duplex>(socket: T): T => {
    open.add(socket);
    socket.on("error", () => {}).once("close", () => open.delete(socket));
    return socket;
  };

  const relay = (near: Duplex): void => {
    const far = track(connect(way.kind === "other" ? way.port : target(), "127.0.0.1"));
    const isCut = way.kind === "close";
    const send = (to: Duplex, chunk: Buffer): void => {
      const delayMs = way.kind === "slow" ? way.ms / 2 : 0;
      if (delayMs === 0) to.write(chunk);
      else setTimeout(() => void (to.destroyed || to.write(chunk)), delayMs);
    };
    near.on("data", (chunk: Buffer) => send(far, chunk)).once("close", () => far.destroy());
    far.once("close", () => near.destroy());
    far.on("data", (chunk: Buffer) => {
      if (isCut) near.end(chunk.subarray(0, chunk.length / 2));
      else send(near, chunk);
    });
  };

  const pass = async ({ method, path, body }: Asked, headers: IncomingMessage["headers"]): Promise<Answer> =>
    await new Promise((resolve, reject) => {
      const options = { port: target(), host: "127.0.0.1", method, path, headers, agent: false };
      const take = (reply: IncomingMessage): void => {
        const { connection: _connection, "transfer-encoding": _encoding, ...given } = reply.headers;
        const { statusCode: status = 502 } = reply;
        buffer(reply).then((bytes) => resolve({ status, body: bytes, headers: given }), reject);
      };
      const onward = client === undefined ? request(options, take) : secureRequest({ ...options, ...client }, take);
      onward.on("error", reject).end(body);
    });
  const serve = async (asking: IncomingMessage, response: ServerResponse): Promise<void> => {
    const asked = { method: asking.method ?? "GET", path: asking.url ?? "/", body: await buffer(asking) };
    const passed = (): Promise<Answer> => pass(asked, asking.headers);
    const {
      status,
      body,
      headers = { "content-type": "application/json" },
    } = (way.kind === "answer" ? await way.answer(asked, passed) : { status: 503, body: "" }) ?? (await passed());
    // What was passed on may have been changed.
    response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) }).end(body);
  };
  const http = createHttpServer((asking, response) => void serve(asking, response).catch(() => response.destroy()));

  const begin = (socket: Duplex, isPlain: boolean): void => {
    if (way.kind === "answer" || (way.kind === "certificate" && isPlain && pair === undefined))
      http.emit("connection", socket);
    else if (way.kind === "garbage") socket.once("data", () => socket.end(garbage));
    else relay(socket);
  };
  const server = createServer((socket: Socket) => {
    track(socket);
    if (way.kind === "silent") return void socket.resume();
    const shown = way.kind === "certificate" || way.kind === "answer" ? (way.pair ?? pair) : pair;
    if (shown === undefined) return begin(socket, false);
    const tls = createTlsServer({ ...shown, ...(alpn && { ALPNProtocols: [...alpn] }) }, (secure) =>
      begin(track(secure), true),
    );
    tls.on("tlsClientError", () => {});
    tls.emit("connection", socket);
  });
  const cut = (): void => {
    for (const socket of open) socket.destroy();
  };
  const listen = (at: number): Promise<void> =>
    new Promise((resolve, reject) => void server.once("error", reject).listen(at, host, resolve));
  const stop = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
    cut();
    await closed;
  };
  await listen(port);
  const bound = (server.address() as AddressInfo).port;
  return {
    port: bound,
    async set(next) {
      const isSpeed = [way, next].every(({ kind }) => kind === "pass" || kind === "slow");
      way = next;
      if (!isSpeed) cut();
      if (next.kind === "refuse" && server.listening) await stop();
      if (next.kind !== "refuse" && !server.listening) await listen(bound);
    },
    cut,
    close: stop,
  };
}
