// HTTP/1.1 as a hostile caller speaks it: a request as bytes, with lies about its length, and the reply to it.
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { bytesOf, type Format, isList, isMap, type Tree } from "../trees.ts";

/** The value of a content-length that is the body's own. */
const own = "own";

/** A request is { head: { line, headers: [[name, value]] }, body }; `body` has a form of its own where its bytes have one. */
export function requestFormat(body: Format): Format {
  return {
    decode(input) {
      const end = input.indexOf("\r\n\r\n");
      if (end < 0) return undefined;
      const [line = "", ...lines] = input.toString("latin1", 0, end).split("\r\n");
      const content = input.subarray(end + 4);
      const headers = lines.map((text): Tree => {
        const [name = "", value = ""] = text.split(": ");
        return [name, name === "content-length" && value === String(content.length) ? own : value];
      });
      return { head: { line: line.split(" "), headers }, body: body.decode(content) ?? content };
    },
    encode(tree) {
      if (!isMap(tree)) return bytesOf(tree);
      const { head: given, body: content = null } = tree;
      const { line, headers } = isMap(given) ? given : { line: given ?? null };
      const bytes = isList(content) || isMap(content) ? body.encode(content) : bytesOf(content);
      const pairs = isList(headers) ? headers : [];
      const text = (part: Tree | undefined): string => bytesOf(part).toString("latin1");
      const head = pairs.map((pair) => {
        if (!isList(pair)) return text(pair);
        return `${text(pair[0])}: ${pair[1] === own ? bytes.length : text(pair[1])}`;
      });
      const first = isList(line) ? line.map(text).join(" ") : text(line);
      return Buffer.concat([Buffer.from(`${[first, ...head].join("\r\n")}\r\n\r\n`, "latin1"), bytes]);
    },
  };
}

/** A request, as bytes. */
export function requestOf(path: string, headers: Readonly<Record<string, string>>, body: Uint8Array): Buffer {
  const lines = Object.entries({ host: "x", ...headers, "content-length": String(body.length) }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  return Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`), body]);
}

export type Reply = { readonly status: number; readonly head: string; readonly body: string };

/** Is this one request, whole and with nothing behind it? Then there is a reply to it. */
function isWhole(input: Buffer): boolean {
  const end = input.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const head = input.toString("latin1", 0, end);
  const lengths = [...head.matchAll(/^content-length:[ \t]*(\d{1,9})[ \t]*\r?$/gim)];
  return (
    !/transfer-encoding|expect|upgrade|connection/i.test(head) &&
    lengths.length === 1 &&
    Number(lengths[0]?.[1]) === input.length - end - 4
  );
}

/** The reply at the head of some bytes; undefined while it is not whole. */
function replyOf(bytes: Buffer): Reply | undefined {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = bytes.toString("latin1", 0, end);
  const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
  if (bytes.length < end + 4 + length) return undefined;
  return { status: Number(head.slice(9, 12)), head, body: bytes.toString("utf8", end + 4, end + 4 + length) };
}

/** What is not whole need not be answered, and is not waited for longer. */
const partMs = 50;
const wholeMs = 5000;

export type Speaker = {
  /**
   * Sends some bytes.
   * @returns the reply; undefined for a closed connection, or no answer to something that is no whole request
   * @throws Error where a whole request has no answer in time
   */
  send(input: Buffer): Promise<Reply | undefined>;
  close(): void;
};

/** One connection at a time: another one after anything but a whole request and its reply. */
export function createSpeaker(options: ConnectionOptions): Speaker {
  let kept: TLSSocket | undefined;
  const open = (): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const socket: TLSSocket = connect(options, () => resolve(socket));
      socket.once("error", reject).on("error", () => {});
    });
  return {
    async send(input) {
      const socket = kept !== undefined && !kept.destroyed ? kept : await open();
      const isAnswered = isWhole(input);
      kept = undefined;
      return await new Promise((resolve, reject) => {
        let bytes = Buffer.alloc(0);
        const finish = (): void => {
          clearTimeout(timer);
          socket.off("data", onData).off("close", finish);
          const reply = replyOf(bytes);
          const isLate = isAnswered && reply === undefined && !socket.closed;
          const isOver = !isAnswered || reply === undefined || /^connection: close/im.test(reply.head);
          if (isOver) socket.destroy();
          else kept = socket;
          if (isLate) reject(new Error(`no answer to a whole request in ${wholeMs} ms`));
          else resolve(reply);
        };
        const onData = (chunk: Buffer): void => {
          bytes = Buffer.concat([bytes, chunk]);
          if (replyOf(bytes) !== undefined) finish();
        };
        const timer = setTimeout(finish, isAnswered ? wholeMs : partMs);
        socket.on("data", onData).once("close", finish);
        socket.write(input);
      });
    },
    close: () => kept?.destroy(),
  };
}
