// A listener on 127.0.0.1 for one browser of one user: the console's pages and the calls of FleetService, passed on
// with the operator's identity, which stays here. (docs/architecture.md #console.)
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { userInfo } from "node:os";
import { FleetService } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { CliError } from "../commander.ts";
import type { Forward } from "./forward.ts";
import { peerUid } from "./peer.ts";
import { createTicket, type Ticket } from "./ticket.ts";

const accessPath = "/console/access";
const reportPath = "/console/csp-report";
const calls: ReadonlySet<string> = new Set(FleetService.methods.map(({ name }) => `/${FleetService.typeName}/${name}`));
/** More than a call or a report is. */
const mostBytes = 65_536;

export type Proxy = {
  /** Opens the console, once. */
  readonly link: string;
  close(): void;
};

/** What a request may be; the text says what to do, where it may not. */
type Verdict =
  | { readonly kind: "refuse"; readonly status: number; readonly text: string }
  | { readonly kind: "open" }
  | { readonly kind: "access" }
  | { readonly kind: "pass" };

function refuse(status: number, text: string): Verdict {
  return { kind: "refuse", status, text };
}

/** @param user whose program has connected; undefined where nobody can say */
export function judge(
  { method = "", url = "", headers }: Pick<IncomingMessage, "method" | "url" | "headers">,
  ticket: Ticket,
  { port, user, own }: { readonly port: number; readonly user: number | undefined; readonly own: number },
): Verdict {
  const origin = `http://127.0.0.1:${port}`;
  const [path = ""] = url.split("?");
  // Whoever is root may do what this user may in any case.
  if (user !== undefined && user !== own && user !== 0)
    return refuse(403, "This console is another user's: run 'claviger console' yourself.");
  // A page elsewhere whose name leads here comes with that name.
  if (headers.host !== `127.0.0.1:${port}`) return refuse(421, `The console is at ${origin} and nowhere else.`);
  const site = headers["sec-fetch-site"];
  if (
    (headers.origin !== undefined && headers.origin !== origin) ||
    (site !== undefined && site !== "same-origin" && site !== "none")
  )
    return refuse(403, "A page of another origin asks for this: open the console by its link.");
  const isRead = method === "GET" || method === "HEAD";
  if (method === "GET" && path.startsWith("/open/"))
    switch (ticket.open(path)) {
      case "opened":
        return { kind: "open" };
      case "used":
        return refuse(
          410,
          "This link has been used. Go on in the window that it has opened, or run 'claviger console' anew.",
        );
      case "unknown":
        return refuse(404, "This link is of another console: open the one that 'claviger console' prints.");
    }
  if (!ticket.isHolder(headers.cookie))
    return refuse(401, "Open the console by the link that 'claviger console' prints; it is good once, in one browser.");
  if (isRead) {
    if (path === accessPath) return { kind: "access" };
    return path.startsWith("/console/") ? refuse(404, "There is no such page here.") : { kind: "pass" };
  }
  if (method !== "POST" || (!calls.has(path) && path !== reportPath))
    return refuse(405, "Only the console's own calls go through here.");
  if (headers.origin === undefined) return refuse(403, "A call comes from a page of the console: origin is missing.");
  if (calls.has(path) && headers["connect-protocol-version"] !== "1")
    return refuse(403, "A call comes from a page of the console: connect-protocol-version is missing.");
  if (!(Number(headers["content-length"]) <= mostBytes)) return refuse(413, "The call is too long.");
  return { kind: "pass" };
}

function say(
  reply: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  reply.writeHead(status, {
    "content-type": "text/plain; charset=utf-8",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    ...headers,
  });
  reply.end(text === "" ? "" : `${text}\n`);
}

/**
 * @param port 0: any that is free
 * @param fleet the URL of the fleet service
 * @param onNotice hears what the operator should know
 * @throws CliError
 */
export async function openProxy({
  port,
  fleet,
  forward,
  onNotice,
}: {
  readonly port: number;
  readonly fleet: string;
  readonly forward: Forward;
  readonly onNotice: (text: string) => void;
}): Promise<Proxy> {
  const own = userInfo().uid;
  let ticket: Ticket | undefined;
  let bound = 0;
  const server = createServer((request, reply) => {
    const { socket } = request;
    const verdict =
      ticket === undefined
        ? refuse(503, "Not yet.")
        : judge(request, ticket, { port: bound, user: peerUid(socket), own });
    switch (verdict.kind) {
      case "pass":
        return void forward.pass(request, reply);
      case "open":
        return say(reply, 303, "", { location: "/", "set-cookie": ticket?.cookie ?? "" });
      case "access":
        return say(reply, 200, JSON.stringify({ by: "proxy", fleet }), { "content-type": "application/json" });
      case "refuse":
        if (verdict.status === 410)
          onNotice("the link was opened once more, which was refused: was the first time yours?");
        request.resume();
        return say(reply, verdict.status, verdict.text);
    }
  });
  bound = await new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(
        new CliError(`port ${port} of this machine cannot be listened at (${fileProblem(error)}); give another --port`),
      ),
    );
    server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
  ticket = createTicket(bound);
  return {
    link: `http://127.0.0.1:${bound}${ticket.path}`,
    close() {
      server.close();
      server.closeAllConnections();
      forward.close();
    },
  };
}
