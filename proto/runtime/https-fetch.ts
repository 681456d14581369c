// `fetch` over node:https, for servers that are verified by a CA of the caller's choice: the shape that
// libraries for OpenID Connect ask for. Follows no redirect, and bounds time and length.
import { request as httpRequest, type RequestOptions } from "node:http";
import { request } from "node:https";

type Init = {
  readonly method?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | Headers | undefined;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
};

/** The server, or the way to it, failed. `message` says how, and holds nothing that the server has sent. */
export class FetchError extends Error {
  override readonly name = "FetchError";
}

/** May a URL be asked? Plain HTTP is for servers of the same machine. */
export function isSafeUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== "" || password !== "") return false;
  return protocol === "https:" || (protocol === "http:" && /^(?:127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(hostname));
}

function bodyOf(body: unknown): string | undefined {
  if (body === undefined || body === null) return undefined;
  if (typeof body === "string") return body;
  if (body instanceof URLSearchParams) return body.toString();
  throw new TypeError("a body of a form that is not sent");
}

/**
 * @param ca PEM, asked at each request; undefined: the CAs that Node.js comes with
 * @returns a `fetch`. It throws FetchError where there is no whole answer
 */
export function createHttpsFetch({
  ca,
  timeoutMs,
  maxBytes,
}: {
  readonly ca: () => string | undefined;
  readonly timeoutMs: number;
  readonly maxBytes: number;
}): (url: string | URL, init?: Init) => Promise<Response> {
  return (url, { method = "GET", headers, body, signal } = {}) => {
    const target = new URL(url);
    const { origin } = target;
    if (!isSafeUrl(target.href)) return Promise.reject(new FetchError(`${origin} is no https:// address`));
    const time = AbortSignal.timeout(timeoutMs);
    const content = bodyOf(body);
    const trusted = ca();
    const options: RequestOptions = {
      method,
      headers: {
        ...Object.fromEntries(new Headers(headers)),
        ...(content !== undefined && { "content-length": Buffer.byteLength(content) }),
      },
      agent: false,
      signal: signal === undefined ? time : AbortSignal.any([time, signal]),
    };
    return new Promise((resolve, reject) => {
      const failed = (error: Error): void => {
        const why = time.aborted ? `no answer in ${timeoutMs / 1000} s` : ((error as NodeJS.ErrnoException).code ?? "");
        reject(
          signal?.aborted === true || error instanceof FetchError
            ? error
            : new FetchError(`${origin} cannot be reached (${why})`, { cause: error }),
        );
      };
      const tls = trusted === undefined ? {} : { ca: trusted };
      const outgoing =
        target.protocol === "http:" ? httpRequest(target, options) : request(target, { ...options, ...tls });
      outgoing.on("response", (reply) => {
        const chunks: Buffer[] = [];
        let length = 0;
        reply.on("data", (chunk: Buffer) => {
          length += chunk.length;
          if (length > maxBytes) outgoing.destroy(new FetchError(`the answer of ${origin} is too long`));
          else chunks.push(chunk);
        });
        reply.on("end", () => {
          const status = reply.statusCode ?? 0;
          const hasBody = status !== 204 && status !== 304 && status >= 200;
          const given = Object.entries(reply.headers).filter(
            (pair): pair is [string, string] => typeof pair[1] === "string",
          );
          resolve(new Response(hasBody ? Buffer.concat(chunks) : null, { status, headers: given }));
        });
        reply.on("error", failed);
      });
      outgoing.on("error", failed);
      outgoing.end(content);
    });
  };
}
