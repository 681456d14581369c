// The listener for kubelet and Prometheus: /livez (the process alone), /readyz, /metrics. Plain
// HTTP; says nothing about keys.
import { createServer, type ServerResponse } from "node:http";

const retryMs = 100;
/** The kubelet, Prometheus, a person. */
const maxConnections = 64;
/** For a request, and for the next one on the same connection. */
const requestMs = 5000;

export type OperationsServer = { readonly port: number; close(): Promise<void> };

function answer(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(body);
}

/**
 * Starts listening.
 * @param readiness asked at each /readyz; `ready` decides between 200 and 503, all of it is shown
 * @param metrics the page for a scraper
 * @throws the system's error, e.g. EADDRINUSE
 */
export async function openOperationsServer({
  address,
  port,
  readiness,
  metrics,
  waitForPort = false,
  onListening,
}: {
  readonly address: string;
  readonly port: number;
  readonly readiness: () => { readonly ready: boolean };
  readonly metrics: () => Promise<string>;
  /** A port that somebody else holds is waited for, in the background: its holder is to end soon. */
  readonly waitForPort?: boolean;
  /** Called when a port that was waited for is there. */
  readonly onListening?: () => void;
}): Promise<OperationsServer> {
  const timeouts = { headersTimeout: requestMs, requestTimeout: requestMs, connectionsCheckingInterval: 1000 };
  const server = createServer(timeouts, (request, response) => {
    switch (request.url?.split("?")[0]) {
      case "/livez":
        return answer(response, 200, "text/plain; charset=utf-8", "ok\n");
      case "/readyz": {
        const state = readiness();
        return answer(response, state.ready ? 200 : 503, "application/json", `${JSON.stringify(state)}\n`);
      }
      case "/metrics":
        metrics().then(
          (page) => answer(response, 200, "text/plain; version=0.0.4; charset=utf-8", page),
          () => answer(response, 500, "text/plain; charset=utf-8", "metrics could not be collected\n"),
        );
        return undefined;
      default:
        return answer(response, 404, "text/plain; charset=utf-8", "here are /livez, /readyz and /metrics\n");
    }
  });
  server.maxConnections = maxConnections;
  server.on("drop", () => server.closeIdleConnections());
  const listen = (): Promise<void> =>
    new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, address, () => {
        server.off("error", reject);
        resolve();
      });
    });
  let timer: NodeJS.Timeout | undefined;
  const listenLater = (): void => {
    timer = setTimeout(() => {
      listen().then(() => onListening?.(), listenLater);
    }, retryMs).unref();
  };
  await listen().catch((error: unknown) => {
    if (!(waitForPort && (error as NodeJS.ErrnoException).code === "EADDRINUSE")) throw error;
    listenLater();
  });
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : port,
    close: () =>
      new Promise((resolve) => {
        clearTimeout(timer);
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** `http://HOST:PORT`, IPv6 addresses in brackets. */
export function urlOf(scheme: "http" | "https", address: string, port: number): string {
  return `${scheme}://${address.includes(":") ? `[${address}]` : address}:${port}`;
}
