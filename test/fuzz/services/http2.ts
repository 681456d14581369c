// HTTP/2 as a hostile caller speaks it: frames of any kind, with gRPC messages in them. (RFC 9113; the gRPC
// protocol over HTTP/2.) An input is what follows the preface of the connection.
import { connect } from "node:net";
import { attempt, protobuf } from "../formats.ts";
import { bytesOf, type Format, isList, isMap, numberOf, type Tree } from "../trees.ts";

export const frameTypes = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const endStream = 1;
export const endHeaders = 4;

const headBytes = 9;
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

type Frame = { readonly type: number; readonly flags: number; readonly stream: number; readonly payload: Buffer };

/** The whole frames at the head of some bytes, and what is left over. */
function framesOf(input: Buffer): { readonly frames: readonly Frame[]; readonly rest: Buffer } {
  const frames: Frame[] = [];
  let at = 0;
  while (at + headBytes <= input.length) {
    const length = input.readUIntBE(at, 3);
    const end = at + headBytes + length;
    if (end > input.length) break;
    const [type = 0, flags = 0] = input.subarray(at + 3, at + 5);
    const stream = input.readUInt32BE(at + 5) & 0x7fff_ffff;
    frames.push({ type, flags, stream, payload: Buffer.from(input.subarray(at + headBytes, end)) });
    at = end;
  }
  return { frames, rest: input.subarray(at) };
}

/** Each header literal, without index and without Huffman code. (RFC 7541 section 6.2.2.) */
function encodeHeader(pair: Tree): Buffer {
  if (!isList(pair)) return bytesOf(pair);
  const text = (part: Tree | undefined): Buffer => {
    const bytes = bytesOf(part);
    if (bytes.length < 127) return Buffer.from([bytes.length, ...bytes]);
    const more: number[] = [];
    let rest = bytes.length - 127;
    for (; rest >= 128; rest >>= 7) more.push((rest & 127) | 128);
    return Buffer.concat([Buffer.from([127, ...more, rest]), bytes]);
  };
  return Buffer.concat([Buffer.from([0]), text(pair[0]), text(pair[1])]);
}

function decodeHeaders(payload: Buffer): Tree {
  const pairs: Tree[] = [];
  let at = 0;
  const text = (): string => {
    const length = payload[at++] ?? 0;
    if (length >= 127 || at + length > payload.length) throw new RangeError("a header that is written otherwise");
    return payload.toString("latin1", at, (at += length));
  };
  while (at < payload.length) {
    if (payload[at++] !== 0) throw new RangeError("a header that is written otherwise");
    pairs.push([text(), text()]);
  }
  return pairs;
}

/** Messages behind their flag and length; a third part is added to the length. */
function encodeMessages(list: Tree): Buffer {
  if (!isList(list)) return bytesOf(list);
  return Buffer.concat(
    list.map((message) => {
      if (!isList(message)) return bytesOf(message);
      const [flag, content, lie] = message;
      const body = protobuf.encode(content ?? null);
      const head = Buffer.alloc(5);
      head[0] = numberOf(flag) & 255;
      head.writeUInt32BE((body.length + numberOf(lie)) >>> 0, 1);
      return Buffer.concat([head, body]);
    }),
  );
}

function decodeMessages(payload: Buffer): Tree {
  const messages: Tree[] = [];
  for (let at = 0; at < payload.length; ) {
    const length = payload.readUInt32BE(at + 1);
    const body = payload.subarray(at + 5, at + 5 + length);
    if (body.length < length) throw new RangeError("a message that breaks off");
    messages.push([payload[at] ?? 0, protobuf.decode(body) ?? body, 0]);
    at += 5 + length;
  }
  return messages;
}

function decodePayload({ type, payload }: Frame): Tree {
  const isHeaders = type === frameTypes.headers || type === frameTypes.continuation;
  const headers = isHeaders ? attempt(() => decodeHeaders(payload)) : undefined;
  if (headers !== undefined) return { headers };
  const messages = type === frameTypes.data ? attempt(() => decodeMessages(payload)) : undefined;
  return messages === undefined ? payload : { messages };
}

function encodePayload(tree: Tree | undefined): Buffer {
  if (!isMap(tree)) return bytesOf(tree);
  const { headers, messages } = tree;
  return Buffer.concat([
    ...(isList(headers) ? headers.map(encodeHeader) : [bytesOf(headers)]),
    encodeMessages(messages ?? null),
  ]);
}

/** A frame is [[type, flags, stream, what is added to its length], payload]. */
export const framesFormat: Format = {
  decode: (input) =>
    framesOf(input).frames.map((frame) => [[frame.type, frame.flags, frame.stream, 0], decodePayload(frame)]),
  encode(tree) {
    if (!isList(tree)) return bytesOf(tree);
    return Buffer.concat(
      tree.map((frame) => {
        if (!isList(frame)) return bytesOf(frame);
        const [head, payload] = frame;
        const [type, flags, stream, lie] = isList(head) ? head : [head];
        const body = encodePayload(payload);
        const bytes = Buffer.alloc(headBytes);
        bytes.writeUIntBE((body.length + numberOf(lie)) & 0xff_ffff, 0, 3);
        bytes[3] = numberOf(type) & 255;
        bytes[4] = numberOf(flags) & 255;
        bytes.writeUInt32BE(numberOf(stream), 5);
        return Buffer.concat([bytes, body]);
      }),
    );
  },
};

/** How far a connection came; the furthest of what the server said. */
export type Heard = "answered" | "refused" | "reset" | "sent away" | "closed" | "nothing";

/** What is answered at all is answered sooner, also where the machine is busy. */
const heardMs = 150;

/** Says the preface and the input on a connection of its own, and listens for what is said to that. */
export function speak(socketPath: string, input: Buffer): Promise<Heard> {
  const opened = framesOf(input).frames.filter(({ type }) => type === frameTypes.headers).length;
  return new Promise((resolve) => {
    const heard = new Set<Heard>();
    let buffered = Buffer.alloc(0);
    let ended = 0;
    const socket = connect(socketPath);
    const finish = (): void => {
      clearTimeout(timer);
      socket.destroy();
      const order = ["answered", "refused", "reset", "sent away", "closed"] as const;
      resolve(order.find((one) => heard.has(one)) ?? "nothing");
    };
    const timer = setTimeout(finish, heardMs);
    socket.on("error", () => {});
    socket.on("close", () => {
      heard.add("closed");
      finish();
    });
    socket.on("data", (chunk) => {
      const { frames, rest } = framesOf(Buffer.concat([buffered, chunk]));
      buffered = Buffer.from(rest);
      for (const { type, flags } of frames) {
        const isEnd = (flags & endStream) !== 0;
        if (type === frameTypes.data) heard.add("answered");
        if (type === frameTypes.headers && isEnd) heard.add("refused");
        if (type === frameTypes.reset) heard.add("reset");
        if (type === frameTypes.goAway) heard.add("sent away");
        if (type === frameTypes.reset || (isEnd && type <= frameTypes.headers)) ended += 1;
      }
      if (opened > 0 && ended >= opened) finish();
    });
    socket.write(Buffer.concat([preface, input]));
  });
}
