// The forms in which a secret may lie somewhere: what a search of memory or files looks for.
import type { Pattern } from "./finder.ts";

export const forms = ["raw", "base64", "hex", "JSON string"] as const;
export type Form = (typeof forms)[number];

/**
 * The characters of its base64 that depend on these bytes alone, wherever in three bytes they
 * begin.
 */
function base64Of(bytes: Uint8Array, encoding: "base64" | "base64url"): readonly Buffer[] {
  return [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString(encoding)
      .replaceAll("=", "");
    const first = Math.ceil((shift * 8) / 6);
    return Buffer.from(text.slice(first, Math.floor(((shift + bytes.length) * 8) / 6)));
  });
}

function isText(bytes: Uint8Array): boolean {
  return Buffer.from(Buffer.from(bytes).toString("utf8")).equals(bytes);
}

/** As it stands between the quotes of a JSON string. */
function jsonOf(bytes: Uint8Array): Buffer {
  return Buffer.from(JSON.stringify(Buffer.from(bytes).toString("utf8")).slice(1, -1));
}

/** Text that has every form, each unlike the others; undefined where there is no such form. */
export function encode(bytes: Uint8Array, form: Form): Buffer | undefined {
  switch (form) {
    case "raw":
      return Buffer.from(bytes);
    case "base64":
      return Buffer.from(Buffer.from(bytes).toString("base64"));
    case "hex":
      return Buffer.from(Buffer.from(bytes).toString("hex"));
    case "JSON string":
      return isText(bytes) ? jsonOf(bytes) : undefined;
  }
}

function unique(list: readonly Buffer[]): readonly Buffer[] {
  return list.filter((one, i) => list.findIndex((other) => other.equals(one)) === i);
}

/** All patterns of a secret, each named by its form. Bytes that are no text have no JSON string. */
export function formsOf(secret: Uint8Array): readonly Pattern[] {
  const raw = Buffer.from(secret);
  const hex = raw.toString("hex");
  const json = encode(secret, "JSON string");
  return [
    { name: "raw", bytes: raw },
    ...unique([...base64Of(secret, "base64"), ...base64Of(secret, "base64url")]).map((bytes) => ({
      name: "base64",
      bytes,
    })),
    ...[hex, hex.toUpperCase()].map((text) => ({ name: "hex", bytes: Buffer.from(text) })),
    ...(json === undefined || json.equals(raw) ? [] : [{ name: "JSON string", bytes: json }]),
  ];
}
