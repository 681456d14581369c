// FleetService over fetch, in JSON: single calls, and the stream of events. It holds no credential: whoever serves
// the pages adds what the caller is known by.
import { type Access, readAccess } from "./access.ts";
import { ApiError, errorOf, offline } from "./failure.ts";
import { createFrameReader, encodeFrame } from "./frames.ts";
import type { FleetEvent, MethodName, Reply, Request, UnaryName } from "./json.ts";

const callMs = 20_000;
/** The service sends a heartbeat every ten seconds. */
const silentMs = 25_000;

export type Api = {
  /** @throws ApiError */
  call<M extends UnaryName>(method: M, request: Request<M>, signal?: AbortSignal): Promise<Reply<M>>;
  /** Ends where the service ends it. @throws ApiError */
  watch(cursor: string, signal: AbortSignal): AsyncIterable<FleetEvent>;
  /** @throws ApiError */
  access(): Promise<Access>;
  /** Ends the session that began with a login. @throws ApiError */
  logout(path: string): Promise<void>;
};

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

async function jsonOf(reply: Response): Promise<unknown> {
  try {
    return await reply.json();
  } catch {
    return undefined;
  }
}

/** @param onAnswer hears the service's own time, as each answer says it, Unix milliseconds */
export function createApi({
  fetch,
  onAnswer = () => {},
}: {
  readonly fetch: Fetch;
  readonly onAnswer?: (serverTime: number) => void;
}): Api {
  const send = async (
    method: MethodName,
    type: string,
    body: string | Uint8Array<ArrayBuffer>,
    signal: AbortSignal,
  ): Promise<Response> => {
    const name = `${method.charAt(0).toUpperCase()}${method.slice(1)}`;
    let reply: Response;
    try {
      reply = await fetch(`/claviger.fleet.v1.FleetService/${name}`, {
        method: "POST",
        headers: { "content-type": type, "connect-protocol-version": "1" },
        credentials: "same-origin",
        redirect: "error",
        cache: "no-store",
        body,
        signal,
      });
    } catch (error) {
      throw offline(error);
    }
    const date = Date.parse(reply.headers.get("date") ?? "");
    if (!Number.isNaN(date)) onAnswer(date);
    return reply;
  };

  return {
    access: () => readAccess(fetch),
    async logout(path) {
      const headers = { "connect-protocol-version": "1" };
      const reply = await fetch(path, { method: "POST", headers, credentials: "same-origin", redirect: "error" }).catch(
        (error: unknown) => Promise.reject(offline(error)),
      );
      if (!reply.ok) throw errorOf(undefined, reply.status);
    },
    async call<M extends UnaryName>(method: M, request: Request<M>, signal?: AbortSignal) {
      const limit = AbortSignal.timeout(callMs);
      const both = signal === undefined ? limit : AbortSignal.any([signal, limit]);
      const reply = await send(method, "application/json", JSON.stringify(request), both);
      const json = await jsonOf(reply);
      if (!reply.ok) throw errorOf(json, reply.status);
      if (typeof json !== "object" || json === null) throw new ApiError("unknown", "the answer cannot be read");
      return json as Reply<M>;
    },

    async *watch(cursor, signal) {
      const silence = new AbortController();
      const request = encodeFrame({ cursor });
      let timer = setTimeout(() => silence.abort(), silentMs);
      try {
        const both = AbortSignal.any([signal, silence.signal]);
        const reply = await send("watchEvents", "application/connect+json", request, both);
        if (!reply.ok || reply.body === null) throw errorOf(await jsonOf(reply), reply.status);
        const read = createFrameReader();
        const reader = reply.body.getReader();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return;
          clearTimeout(timer);
          timer = setTimeout(() => silence.abort(), silentMs);
          for (const { isEnd, json } of read(value)) {
            if (!isEnd) yield json as FleetEvent;
            else if (typeof json === "object" && json !== null && "error" in json)
              throw errorOf(json.error, reply.status);
            else return;
          }
        }
      } catch (error) {
        throw error instanceof ApiError ? error : offline(error);
      } finally {
        clearTimeout(timer);
        silence.abort();
      }
    },
  };
}
