// The second listener: /livez (the process alone), /readyz (each dependency by name), /metrics. Plain HTTP; says nothing about keys.
import { createServer, type ServerResponse } from "node:http";
import type { Metrics } from "../metrics.ts";
import type { Health } from "./health.ts";

export type AdminServer = { readonly port: number; close(): Promise<void> };

const answer = (response: ServerResponse, status: number, type: string, body: string): void => {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(body);
};

/** Starts listening. @throws the system's error, e.g. EADDRINUSE */
export const openAdminServer = async (address: string, port: number, health: Health, metrics: Metrics): Promise<AdminServer> => {
  const server = createServer((request, response) => {
    switch (request.url?.split("?")[0]) {
      case "/livez":
        return answer(response, 200, "text/plain; charset=utf-8", "ok\n");
      case "/readyz": {
        const readiness = health.readiness();
        return answer(response, readiness.ready ? 200 : 503, "application/json", `${JSON.stringify(readiness)}\n`);
      }
      case "/metrics":
        metrics.render().then(
          (page) => answer(response, 200, "text/plain; version=0.0.4; charset=utf-8", page),
          () => answer(response, 500, "text/plain; charset=utf-8", "metrics could not be collected\n"),
        );
        return undefined;
      default:
        return answer(response, 404, "text/plain; charset=utf-8", "here are /livez, /readyz and /metrics\n");
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, address, resolve);
  });
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
