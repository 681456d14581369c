// One HTTP request with one client certificate on a connection of its own: a caller that the gateway
// must refuse, or a few calls to Vault.
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";

export type Answer = {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: Buffer;
};

/** @throws Error of the connection or the TLS handshake */
export function send({
  url,
  method = "POST",
  headers = {},
  body,
  tls = {},
}: {
  readonly url: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const start = url.startsWith("https:") ? requestHttps : requestHttp;
    const request = start(url, { method, headers, agent: false, timeout: 10_000, ...tls }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      );
      response.once("error", reject);
    });
    request.once("timeout", () => request.destroy(new Error("no answer within 10 s")));
    request.once("error", reject);
    request.end(body);
  });
}
