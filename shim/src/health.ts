// /livez (the process alone), /readyz and /metrics, over plain HTTP. (Design section 11.)
import { createServer, type ServerResponse } from "node:http";
import type { Metrics } from "./metrics.ts";
import type { StatusKeeper } from "./status.ts";

export type HealthServer = { readonly port: number; close(): Promise<void> };

const answer = (response: ServerResponse, status: number, type: string, body: string): void => {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(body);
};

/** Ready: Status would say ok, as kube-apiserver sees it: a ride-out in its first phase is ready. Looks at the last Status, asks for none. */
const readiness = (status: StatusKeeper): { readonly ready: boolean; readonly phase: number; readonly secondsSinceGood: number | null } => {
  const { phase, secondsSinceGood } = status.outage();
  return { ready: secondsSinceGood !== undefined && phase < 2, phase, secondsSinceGood: secondsSinceGood ?? null };
};

/** @throws the system's error, e.g. EADDRINUSE */
export const openHealthServer = async (address: string, port: number, status: StatusKeeper, metrics: Metrics): Promise<HealthServer> => {
  const server = createServer((request, response) => {
    switch (request.url?.split("?")[0]) {
      case "/livez":
        return answer(response, 200, "text/plain; charset=utf-8", "ok\n");
      case "/readyz": {
        const state = readiness(status);
        return answer(response, state.ready ? 200 : 503, "application/json", `${JSON.stringify(state)}\n`);
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
