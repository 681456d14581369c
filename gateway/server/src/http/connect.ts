// The Connect protocol, unary: bodies, deadline and errors of one request. Knows no route.
// (docs/architecture.md #wire.)
import {
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type MessageShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { connectCodes, KmsError, rowOf } from "@claviger/proto/wire/errors.ts";
import { newSecretBytes } from "@claviger/proto/runtime/secret.ts";
import { walkFields } from "@claviger/proto/wire/fields.ts";
import { contentTypes, limits } from "@claviger/proto/wire/protocol.ts";

/** How a body is written. */
export type Encoding = keyof typeof contentTypes;

/** The encoding that a content type names. @throws KmsError request_malformed */
export function encodingOf(contentType: string | undefined): Encoding {
  const type = contentType?.split(";")[0]?.trim().toLowerCase();
  if (type === contentTypes.proto) return "proto";
  if (type === contentTypes.json) return "json";
  throw new KmsError("request_malformed", {
    cause: new Error("a content type that is neither application/proto nor application/json"),
  });
}

/**
 * Reads a message. Byte fields of a proto body are views into it: zeroize the body and they are gone.
 * A JSON body passes through JavaScript strings; the shim never sends one. What a message may cost is
 * bounded before it is decoded: by its number of fields, and by its size where it is JSON.
 * @throws KmsError request_malformed, request_too_large
 */
export function decodeMessage<D extends DescMessage>(schema: D, encoding: Encoding, body: Uint8Array): MessageShape<D> {
  if (encoding === "proto") walkFields(body, limits.messageFields, () => {});
  else if (body.length > limits.jsonMessage) throw new KmsError("request_too_large");
  try {
    switch (encoding) {
      case "proto":
        return fromBinary(schema, body, { readUnknownFields: false });
      case "json":
        return fromJson(schema, JSON.parse(Buffer.from(body).toString("utf8")) as JsonValue);
    }
  } catch {
    // Without the cause: a parser's message may quote the body.
    throw new KmsError("request_malformed", { cause: new Error(`a body that is not ${schema.typeName}`) });
  }
}

/** Writes a message without key material. */
export function encodeMessage<D extends DescMessage>(schema: D, encoding: Encoding, message: MessageShape<D>): Buffer {
  switch (encoding) {
    case "proto": {
      const bytes = toBinary(schema, message);
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    case "json":
      return Buffer.from(JSON.stringify(toJson(schema, message)));
  }
}

/** A field of bytes, or of a string or message as bytes. Its number is at most 15. */
export type Field = readonly [number: number, value: Uint8Array];

function varint(value: number): readonly number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}

/**
 * Writes a message of such fields, with no copy but the result, which is the caller's to zeroize: a
 * library's writer would leave one in its own buffer.
 */
export function encodeFields(fields: readonly Field[]): Buffer {
  const parts = fields.flatMap(([number, value]) => [Buffer.from([(number << 3) | 2, ...varint(value.length)]), value]);
  const bytes = newSecretBytes(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * Milliseconds that the caller waits; `fallback` when it does not say.
 * @throws KmsError request_malformed
 */
export function parseTimeout(header: unknown, fallback: number): number {
  if (header === undefined) return fallback;
  if (typeof header !== "string" || !/^\d{1,10}$/.test(header))
    throw new KmsError("request_malformed", { cause: new Error("a connect-timeout-ms that is not 1 to 10 digits") });
  return Math.min(Number(header), fallback);
}

/** The body and HTTP status of a failed call. */
export function encodeError({ reason }: KmsError): { readonly status: number; readonly body: string } {
  const { connect, message } = rowOf(reason);
  return { status: connectCodes[connect].http, body: JSON.stringify({ code: connect, message }) };
}
