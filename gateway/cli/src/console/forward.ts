// Passes one request of the console on to the fleet service, with what the operator shows to it, and the answer back.
// What goes either way are the headers of these lists and nothing else: no cookie, no credential.
import { Agent, request as httpsRequest } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import { codeOf } from "@claviger/proto/runtime/file-problem.ts";
import { CliError } from "../commander.ts";
import type { FleetAccess } from "../fleet-client.ts";
import { connectionProblem } from "../outside.ts";

const there = [
  "accept",
  "accept-encoding",
  "connect-accept-encoding",
  "connect-content-encoding",
  "connect-protocol-version",
  "connect-timeout-ms",
  "content-encoding",
  "content-length",
  "content-type",
  "if-none-match",
] as const;

const back = [
  "cache-control",
  "connect-accept-encoding",
  "connect-content-encoding",
  "content-encoding",
  "content-length",
  "content-security-policy",
  "content-type",
  "cross-origin-embedder-policy",
  "cross-origin-opener-policy",
  "cross-origin-resource-policy",
  "date",
  "etag",
  "permissions-policy",
  "referrer-policy",
  "vary",
  "x-content-type-options",
] as const;

/** Those of a list that are there. */
function picked(
  headers: IncomingMessage["headers"],
  names: readonly string[],
): Readonly<Record<string, string | readonly string[]>> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = headers[name];
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}

export type Forward = {
  /** Never rejects. */
  pass(request: IncomingMessage, reply: ServerResponse): Promise<void>;
  close(): void;
};

/** @param onProblem hears why a request could not be passed on */
export function createForward({ url, tls, token }: FleetAccess, onProblem: (text: string) => void): Forward {
  let known: { readonly id: string; readonly agent: Agent } | undefined;
  /** Connections are kept; files that were replaced are used by new ones. */
  const agentNow = (): Agent => {
    const files = tls();
    const id = JSON.stringify(files);
    if (known?.id === id) return known.agent;
    known?.agent.destroy();
    const agent = new Agent({ keepAlive: true, minVersion: "TLSv1.3", ...files });
    known = { id, agent };
    return agent;
  };

  /** As Connect says it, which is what a page reads. */
  const fail = (reply: ServerResponse, error: unknown): void => {
    const isOwn = error instanceof CliError;
    const message = isOwn
      ? error.message
      : `the fleet service ${url} cannot be reached (${connectionProblem(codeOf(error) ?? "no answer")})`;
    // Whoever asked has gone.
    if (reply.destroyed) return;
    onProblem(message);
    if (reply.headersSent) {
      reply.destroy();
      return;
    }
    reply.writeHead(isOwn ? 401 : 503, { "content-type": "application/json", "cache-control": "no-store" });
    reply.end(JSON.stringify({ code: isOwn ? "unauthenticated" : "unavailable", message }));
  };

  return {
    async pass(request, reply) {
      try {
        const authorization = token === undefined ? {} : { authorization: `Bearer ${await token()}` };
        const outgoing = httpsRequest(new URL(request.url ?? "/", url), {
          method: request.method,
          agent: agentNow(),
          headers: { ...picked(request.headers, there), ...authorization },
        });
        outgoing.on("response", (answer) => {
          reply.writeHead(answer.statusCode ?? 502, picked(answer.headers, back) as Record<string, string>);
          answer.pipe(reply);
          answer.on("error", () => reply.destroy());
        });
        outgoing.on("error", (error) => fail(reply, error));
        // A page that is closed ends the streams that it follows.
        reply.on("close", () => {
          if (!reply.writableFinished) outgoing.destroy();
        });
        request.pipe(outgoing);
      } catch (error) {
        fail(reply, error);
      }
    },
    close: () => known?.agent.destroy(),
  };
}
