// The forms that trees are written in: JSON, YAML, protobuf, DER, and JSON behind an HMAC or in PEM.
import { parse, stringify } from "yaml";
import { bytesOf, type Format, isList, numberOf, type Tree } from "./trees.ts";

/** Undefined where a reader throws. */
export function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

export const json: Format = {
  decode: (input) => attempt(() => JSON.parse(input.toString()) as Tree),
  encode: (tree) =>
    Buffer.from(
      JSON.stringify(tree, (_, value: unknown) => (isBuffer(value) ? Buffer.from(value.data).toString() : value)),
    ),
};

/** What JSON.stringify makes of a Buffer. */
function isBuffer(value: unknown): value is { readonly data: readonly number[] } {
  return typeof value === "object" && value !== null && "type" in value && value.type === "Buffer" && "data" in value;
}

export const yaml: Format = {
  decode: (input) => attempt(() => parse(input.toString()) as Tree),
  encode: (tree) => Buffer.from(attempt(() => stringify(tree)) ?? ""),
};

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

/** A message is a list of [field number, wire type, value]; a value that is a message itself is one as well. */
function decodeMessage(input: Buffer, depth: number): Tree | undefined {
  const fields: Tree[] = [];
  let at = 0;
  const number = (): number => {
    let value = 0;
    for (let power = 1; ; power *= 128) {
      const byte = input[at++];
      if (byte === undefined || power > 2 ** 42) throw new RangeError("no varint that is kept exactly");
      value += (byte & 127) * power;
      if (byte < 128) return value;
    }
  };
  const take = (length: number): Buffer => {
    if (at + length > input.length) throw new RangeError("a message that breaks off");
    return input.subarray(at, (at += length));
  };
  while (at < input.length) {
    const tag = number();
    const wire = tag % 8;
    const field = Math.floor(tag / 8);
    if (wire === 0) fields.push([field, wire, number()]);
    else if (wire === 2) {
      const bytes = Buffer.from(take(number()));
      const inner = depth > 0 && bytes.length > 3 ? attempt(() => decodeMessage(bytes, depth - 1)) : undefined;
      fields.push([field, wire, inner !== undefined && encodeMessage(inner).equals(bytes) ? inner : bytes]);
    } else if (wire === 1 || wire === 5) fields.push([field, wire, Buffer.from(take(wire === 1 ? 8 : 4))]);
    else throw new RangeError("a wire type of earlier times");
  }
  return fields;
}

function encodeMessage(tree: Tree | undefined): Buffer {
  if (!isList(tree)) return bytesOf(tree);
  return Buffer.concat(
    tree.map((field) => {
      if (!isList(field)) return bytesOf(field);
      const [number, wire, value] = field;
      const head = varint(numberOf(number) * 8 + (numberOf(wire) % 8));
      if (wire === 0) return Buffer.concat([head, varint(numberOf(value))]);
      const bytes = encodeMessage(value);
      return Buffer.concat(wire === 2 ? [head, varint(bytes.length), bytes] : [head, bytes]);
    }),
  );
}

export const protobuf: Format = {
  decode: (input) => attempt(() => decodeMessage(input, 3)),
  encode: encodeMessage,
};

const constructed = 0x20;
const octetString = 4;

/** A list of [tag, content]; the content is such a list where it is one, as within an OCTET STRING. */
function decodeDer(input: Buffer): Tree {
  const nodes: Tree[] = [];
  for (let at = 0; at < input.length; ) {
    const tag = input[at++] ?? 0;
    let length = input[at++] ?? 0;
    if (length > 128) {
      const size = length & 127;
      length = input.readUIntBE(at, size);
      at += size;
    }
    if (at + length > input.length) throw new RangeError("an element that breaks off");
    const content = Buffer.from(input.subarray(at, (at += length)));
    const inner =
      (tag & constructed) !== 0 || (tag === octetString && content.length > 1)
        ? attempt(() => decodeDer(content))
        : undefined;
    nodes.push([tag, inner !== undefined && encodeDer(inner).equals(content) ? inner : content]);
  }
  return nodes;
}

function encodeDer(tree: Tree | undefined): Buffer {
  if (!isList(tree)) return bytesOf(tree);
  return Buffer.concat(
    tree.map((node) => {
      if (!isList(node)) return bytesOf(node);
      const content = encodeDer(node[1]);
      const { length } = content;
      const head = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
      return Buffer.concat([Buffer.from([numberOf(node[0]) & 255, ...head]), content]);
    }),
  );
}

export const der: Format = { decode: (input) => attempt(() => decodeDer(input)), encode: encodeDer };

/** A form within a few bytes of another: `open` takes them off, `close` puts them on. */
export function within(
  inner: Format,
  open: (input: Buffer) => Buffer | undefined,
  close: (inner: Buffer) => Buffer,
): Format {
  return {
    decode(input) {
      const bytes = attempt(() => open(input));
      return bytes === undefined ? undefined : inner.decode(bytes);
    },
    encode: (tree) => close(inner.encode(tree)),
  };
}

/** A form behind some bytes that are always the same. */
export function behind(head: Buffer, inner: Format): Format {
  return within(
    inner,
    (input) => (head.equals(input.subarray(0, head.length)) ? input.subarray(head.length) : undefined),
    (bytes) => Buffer.concat([head, bytes]),
  );
}

/** The first of some forms that an input has. */
export function either(...formats: readonly Format[]): Format {
  return {
    decode(input) {
      for (const [at, { decode }] of formats.entries()) {
        const tree = decode(input);
        if (tree !== undefined) return [at, tree];
      }
      return undefined;
    },
    encode(tree) {
      const [at, inner] = isList(tree) ? tree : [0, tree];
      return formats[numberOf(at) % formats.length]?.encode(inner ?? null) ?? Buffer.alloc(0);
    },
  };
}
