// Reads a server stream of Connect as it stands in the specification: messages and the end, each in an envelope.
// https://connectrpc.com/docs/protocol/#streaming-rpcs
import { request } from "node:https";
import type { Credentials } from "./call.ts";

export type StreamEnd = { readonly code: string; readonly message: string };
export type StreamReader = {
  /** The next message; undefined at the end. */
  next(): Promise<Readonly<Record<string, unknown>> | undefined>;
  /** How it ended; `ok` where no error did. Resolves at the end. */
  readonly end: Promise<StreamEnd>;
  close(): void;
};

function envelope(flags: number, message: object): Buffer {
  const body = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

export function openStream({
  port,
  ca,
  method,
  message,
  as,
  given,
}: {
  readonly port: number;
  readonly ca: string;
  readonly method: string;
  readonly message: object;
  readonly as: Credentials;
  /** Further headers. */
  readonly given?: Readonly<Record<string, string>> | undefined;
}): StreamReader {
  const { token, ...certificate } = as ?? {};
  const { promise: end, resolve: resolveEnd } = Promise.withResolvers<StreamEnd>();
  const outgoing = request({
    host: "127.0.0.1",
    port,
    path: `/claviger.fleet.v1.FleetService/${method}`,
    method: "POST",
    agent: false,
    ca,
    ...certificate,
    headers: {
      "content-type": "application/connect+json",
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...given,
    },
  });
  const answered = new Promise<AsyncIterable<Buffer>>((resolve, reject) => {
    outgoing.once("response", resolve);
    outgoing.once("error", reject);
  });
  answered.catch(() => {});
  outgoing.end(envelope(0, message));
  async function* messages(): AsyncGenerator<Readonly<Record<string, unknown>>> {
    const reply = await answered;
    let bytes = Buffer.alloc(0);
    for await (const chunk of reply) {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
        const length = bytes.readUInt32BE(1);
        const body = JSON.parse(bytes.subarray(5, 5 + length).toString()) as Readonly<Record<string, unknown>>;
        const isEnd = (bytes.readUInt8(0) & 2) !== 0;
        bytes = bytes.subarray(5 + length);
        if (!isEnd) yield body;
        else resolveEnd({ code: "ok", message: "", ...(body["error"] as object | undefined) });
      }
    }
  }
  const iterator = messages();
  return {
    end,
    async next() {
      try {
        const read = await iterator.next();
        return read.done === true ? undefined : read.value;
      } catch (error) {
        resolveEnd({ code: "broken", message: String(error) });
        return undefined;
      }
    },
    close: () => void outgoing.destroy(),
  };
}
