// The address of this machine that an issuer sends the browser back to: one page, for one login.
// (RFC 8252 section 7.3.)
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { CliError } from "../commander.ts";

const path = "/callback";

export type Loopback = {
  readonly redirectUri: string;
  /**
   * Waits for the browser, and says in it how the login ended.
   * @param state of the login: what comes with another one is from somebody else, and is answered and forgotten
   * @throws CliError when nobody came in time; what `finish` throws
   */
  take<T>(state: string, finish: (callback: URL) => Promise<T>, withinMs: number): Promise<T>;
  close(): void;
};

function say(reply: ServerResponse, status: number, text: string): void {
  reply.writeHead(status, {
    "content-type": "text/plain; charset=utf-8",
    "content-security-policy": "default-src 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    connection: "close",
  });
  reply.end(`${text}\n`);
}

async function listen(server: Server, port: number): Promise<number> {
  return await new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(
        new CliError(`port ${port} of this machine cannot be listened at (${fileProblem(error)}); give another --port`),
      ),
    );
    server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

/** @param port 0: any that is free. @throws CliError */
export async function openLoopback(port: number): Promise<Loopback> {
  let onRequest: (request: IncomingMessage, reply: ServerResponse) => void = (_, reply) => say(reply, 503, "Not yet.");
  const server = createServer((request, reply) => onRequest(request, reply));
  const bound = await listen(server, port);
  const origin = `http://127.0.0.1:${bound}`;
  return {
    redirectUri: `${origin}${path}`,
    take: (state, finish, withinMs) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new CliError(`nobody has logged in within ${withinMs / 60_000} minutes; begin again`)),
          withinMs,
        );
        const isOurs = (url: URL | undefined, { method, headers }: IncomingMessage): url is URL =>
          url?.pathname === path &&
          method === "GET" &&
          headers.host === `127.0.0.1:${bound}` &&
          url.searchParams.get("state") === state;
        onRequest = (request, reply) => {
          const target = request.url ?? "";
          const url = URL.canParse(target, origin) ? new URL(target, origin) : undefined;
          if (!isOurs(url, request)) return say(reply, 404, "There is no login of this kind here.");
          clearTimeout(timer);
          onRequest = (_, late) => say(late, 410, "This login is over.");
          return void finish(url).then(
            (result) => {
              say(reply, 200, "You are logged in. This window can be closed.");
              resolve(result);
            },
            (error: unknown) => {
              say(reply, 400, "The login has failed; the terminal says why. This window can be closed.");
              reject(error);
            },
          );
        };
      }),
    close: () => void server.close(),
  };
}
