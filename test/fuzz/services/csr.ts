// Certificate requests (PKCS #10) as trees within JSON: whatever is in one, its signature is good.
import { generateKeyPairSync, sign } from "node:crypto";
import { attempt, der } from "../formats.ts";
import { bytesOf, type Format, isList, isMap, type Tree } from "../trees.ts";

const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const [sequence, set, integer, bitString, oid] = [0x30, 0x31, 0x02, 0x03, 0x06];
/** 1.2.840.10045.4.3.2, ecdsa-with-SHA256. */
const algorithm: Tree = [sequence, [[oid, Buffer.from("2a8648ce3d040302", "hex")]]];
/** 1.2.840.113549.1.9.14, the extensions that are asked for, and 2.5.29.17, the alternative names. */
const extensionRequest: Tree = [oid, Buffer.from("2a864886f70d01090e", "hex")];
const subjectAltName: Tree = [oid, Buffer.from("551d11", "hex")];
const armour = /^-----BEGIN CERTIFICATE REQUEST-----\n([A-Za-z0-9+/=\n]+)-----END CERTIFICATE REQUEST-----\n?$/;

/** Signs what is in a request, a DER tree, and writes both as PEM. */
function write(info: Tree): string {
  const bytes = der.encode(info);
  const signature = sign("sha256", bytes, privateKey);
  const whole = der.encode([[sequence, [bytes, algorithm, [bitString, Buffer.concat([Buffer.alloc(1), signature])]]]]);
  const lines = whole.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join("\n")}\n-----END CERTIFICATE REQUEST-----\n`;
}

/** A request for these extensions, a DER tree. */
function csrOf(extensions: Tree): string {
  const attributes: Tree = [[sequence, [extensionRequest, [set, extensions]]]];
  const key = der.decode(publicKey.export({ type: "spki", format: "der" })) ?? null;
  const version: Tree = [integer, Buffer.from([0])];
  return write([[sequence, [version, [sequence, []], ...(isList(key) ? key : []), [0xa0, attributes]]]]);
}

/** A request for these URI names. */
export function csrText(uris: readonly string[]): string {
  const names: Tree = uris.map((uri) => [0x86, Buffer.from(uri)]);
  return csrOf([[sequence, [[sequence, [subjectAltName, [0x04, [[sequence, names]]]]]]]]);
}

/** Signed as it should be, for names of which the first one breaks off. */
export const unreadableCsr = csrOf([
  [sequence, [[sequence, [subjectAltName, [0x04, [[sequence, Buffer.from("86ff", "hex")]]]]]]],
]);

function opened(tree: Tree): Tree {
  if (typeof tree === "string") {
    const base64 = armour.exec(tree)?.[1];
    const whole = base64 === undefined ? undefined : der.decode(Buffer.from(base64, "base64"));
    const info = attempt(() => (((whole as readonly Tree[])[0] as readonly Tree[])[1] as readonly Tree[])[0]);
    return info === undefined ? tree : { csr: [info] };
  }
  if (isList(tree)) return tree.map(opened);
  return isMap(tree) ? Object.fromEntries(Object.entries(tree).map(([name, value]) => [name, opened(value)])) : tree;
}

function closed(tree: Tree): Tree {
  if (isList(tree)) return tree.map(closed);
  if (!isMap(tree)) return tree;
  const { csr } = tree;
  if (csr !== undefined) return isList(csr) ? write(csr) : bytesOf(csr).toString("latin1");
  return Object.fromEntries(Object.entries(tree).map(([name, value]) => [name, closed(value)]));
}

/** A form whose texts may be certificate requests. */
export function withCsr(inner: Format): Format {
  return {
    decode(input) {
      const tree = inner.decode(input);
      return tree === undefined ? undefined : opened(tree);
    },
    encode: (tree) => inner.encode(closed(tree)),
  };
}
