// A shim that runs, and a gateway behind it: hostile HTTP/2 and gRPC at the shim's socket.
import { methods } from "@claviger/proto/wire/protocol.ts";
import { protobuf } from "../formats.ts";
import type { Tree } from "../trees.ts";
import { endHeaders, endStream, framesFormat, frameTypes, speak } from "./http2.ts";
import { messagesOf, type Sealed, startKms } from "./kms.ts";
import type { Service } from "./service.ts";

const callHeaders = [
  [":method", "POST"],
  [":scheme", "http"],
  [":authority", "localhost"],
  ["content-type", "application/grpc"],
  ["te", "trailers"],
  ["grpc-timeout", "3S"],
  ["grpc-encoding", "identity"],
  ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
] as const;

type FrameName = keyof typeof frameTypes;

function frame(name: FrameName, stream: number, payload: Tree, flags = 0): Tree {
  return [[frameTypes[name], flags, stream, 0], payload];
}
function hex(text: string): Buffer {
  return Buffer.from(text, "hex");
}
function many<T>(count: number, make: (i: number) => T): readonly T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}
const settings = frame("settings", 0, Buffer.alloc(0));

function headersOf(path: string, stream: number, flags = endHeaders, more: readonly Tree[] = []): Tree {
  return frame("headers", stream, { headers: [[":path", path], ...callHeaders, ...more] }, flags);
}
function messagesIn(stream: number, messages: readonly Tree[]): Tree {
  return frame("data", stream, { messages }, endStream);
}
function callOf(path: string, message: Uint8Array, stream = 1): readonly Tree[] {
  const body = protobuf.decode(Buffer.from(message)) ?? Buffer.from(message);
  return [headersOf(path, stream), messagesIn(stream, [[0, body, 0]])];
}

/** Calls in their usual form, and what floods a connection. */
function frameSeeds(good: Sealed): readonly Buffer[] {
  const { binary, annotated } = messagesOf(good);
  const { status, encrypt, decrypt } = binary;
  const names = Object.keys(binary) as readonly (keyof typeof binary)[];
  const calls: readonly (readonly Tree[])[] = [
    ...names.map((name) => callOf(methods[name], binary[name])),
    [...callOf(methods.encrypt, encrypt), ...callOf(methods.decrypt, decrypt, 3), ...callOf(methods.status, status, 5)],
    callOf(methods.decrypt, annotated),
    callOf("/no.such/Method", status),
  ];
  const begun = headersOf(methods.encrypt, 1);
  const small = Buffer.from(encrypt);
  const whole = Buffer.from([0, 0, 0, 0, small.length, ...small]);
  const odd: readonly (readonly Tree[])[] = [
    // A message in frames of a byte, many messages, a compressed one, a length that lies.
    [begun, ...many(whole.length, (i) => frame("data", 1, whole.subarray(i, i + 1))), frame("data", 1, "", endStream)],
    [
      begun,
      messagesIn(
        1,
        many(200, () => [0, small, 0]),
      ),
    ],
    [begun, messagesIn(1, [[1, small, 0]])],
    [begun, messagesIn(1, [[0, small, 2 ** 31]])],
    // Headers in pieces without an end, and huge ones.
    [headersOf(methods.status, 1, endStream), ...many(200, () => frame("continuation", 1, { headers: [["a", "b"]] }))],
    [headersOf(methods.status, 1, endHeaders, [["x", "y".repeat(15_000)]])],
    // Floods: calls that are reset, pings, settings, empty frames, windows that overflow.
    many(100, (i) => [headersOf(methods.decrypt, 2 * i + 1), frame("reset", 2 * i + 1, hex("00000008"))]).flat(),
    many(20, (i) => [headersOf("/no.such/Method", 2 * i + 1), frame("reset", 2 * i + 1, hex("00000008"))]).flat(),
    many(500, () => frame("ping", 0, Buffer.alloc(8))),
    many(500, () => settings),
    [begun, ...many(500, () => frame("data", 1, Buffer.alloc(0)))],
    [begun, ...many(3, () => frame("windowUpdate", 1, hex("7fffffff")))],
    [...callOf(methods.status, status), frame("goAway", 0, Buffer.alloc(8))],
    [frame("settings", 0, hex("00040000000000030000000000050000ffff")), ...callOf(methods.encrypt, encrypt)],
    [frame("priority", 1, Buffer.alloc(5)), frame("push", 1, Buffer.alloc(8), endHeaders)],
  ];
  // Calls twice: what is odd about a connection often ends it.
  return [...calls, ...calls, ...odd].map((frames) => framesFormat.encode([settings, ...frames]));
}

export const shimService: Service = {
  name: "shim-socket",
  depths: { answered: 0.03, refused: 0.03, reset: 0.005, "sent away": 0.05 },
  async start(dir) {
    const { lab, good, common } = await startKms(dir);
    const socket = lab.shims[0]?.socket ?? "";
    return {
      ...common,
      inputs: frameSeeds(good),
      format: framesFormat,
      longest: 128 * 1024,
      send: (input) => speak(socket, input),
    };
  },
};
