// The Connect protocol, unary: bodies, deadline and errors of one request. Knows no route. (Design section 2.)
import { type DescMessage, fromBinary, fromJson, type JsonValue, type MessageShape, toBinary, toJson } from "@bufbuild/protobuf";
import { connectCodes, KmsError, rowOf } from "@claviger/proto/errors.ts";
import { contentTypes } from "@claviger/proto/wire.ts";

/** How a body is written. */
export type Encoding = keyof typeof contentTypes;

/** The encoding that a content type names. @throws KmsError request_malformed */
export const encodingOf = (contentType: string | undefined): Encoding => {
  const type = contentType?.split(";")[0]?.trim().toLowerCase();
  if (type === contentTypes.proto) return "proto";
  if (type === contentTypes.json) return "json";
  throw new KmsError("request_malformed", { cause: new Error("a content type that is neither application/proto nor application/json") });
};

/**
 * Reads a message. Byte fields of a proto body are views into it: wipe the body and they are gone.
 * A JSON body passes through JavaScript strings; the shim never sends one.
 * @throws KmsError request_malformed
 */
export const decodeMessage = <D extends DescMessage>(schema: D, encoding: Encoding, body: Uint8Array): MessageShape<D> => {
  try {
    switch (encoding) {
      case "proto":
        return fromBinary(schema, body);
      case "json":
        return fromJson(schema, JSON.parse(Buffer.from(body).toString("utf8")) as JsonValue);
    }
  } catch {
    // Without the cause: a parser's message may quote the body.
    throw new KmsError("request_malformed", { cause: new Error(`a body that is not ${schema.typeName}`) });
  }
};

/** Writes a message. The result is the caller's to wipe. */
export const encodeMessage = <D extends DescMessage>(schema: D, encoding: Encoding, message: MessageShape<D>): Buffer => {
  switch (encoding) {
    case "proto": {
      const bytes = toBinary(schema, message);
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    case "json":
      return Buffer.from(JSON.stringify(toJson(schema, message)));
  }
};

/** Milliseconds that the caller waits; `fallback` when it does not say. @throws KmsError request_malformed */
export const parseTimeout = (header: unknown, fallback: number): number => {
  if (header === undefined) return fallback;
  if (typeof header !== "string" || !/^\d{1,10}$/.test(header))
    throw new KmsError("request_malformed", { cause: new Error("a connect-timeout-ms that is not 1 to 10 digits") });
  return Math.min(Number(header), fallback);
};

/** The body and HTTP status of a failed call. */
export const encodeError = ({ reason }: KmsError): { readonly status: number; readonly body: string } => {
  const { connect, message } = rowOf(reason);
  return { status: connectCodes[connect].http, body: JSON.stringify({ code: connect, message }) };
};
