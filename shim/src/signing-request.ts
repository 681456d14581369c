// A key that is made here and stays here, and the request for a certificate of it: PKCS #10 (RFC 2986), ECDSA
// on P-256 with SHA-256. Node.js has no function for one; whoever signs sets the names, so it has none.
import { generateKeyPairSync, sign } from "node:crypto";
import { Secret } from "@claviger/proto/runtime/secret.ts";

/** DER: a tag, a length in as few bytes as it takes, and what is in it. (X.690 section 10.1.) */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const [high, low] = [body.length >> 8, body.length & 0xff];
  const length = body.length < 0x80 ? [low] : high === 0 ? [0x81, low] : [0x82, high, low];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const [sequence, set, integer, bitString, utf8String] = [0x30, 0x31, 0x02, 0x03, 0x0c];
/** [0], constructed: the attributes, of which there are none. */
const attributes = 0xa0;
/** 2.5.4.3 */
const commonName = Buffer.from("0603550403", "hex");
/** 1.2.840.10045.4.3.2 */
const ecdsaWithSha256 = Buffer.from("06082a8648ce3d040302", "hex");
const subject = der(sequence, der(set, der(sequence, commonName, der(utf8String, Buffer.from("claviger-shim")))));

export type NewKey = {
  /** PKCS #8, PEM. */
  readonly key: Secret;
  /** PKCS #10, PEM. */
  readonly request: string;
};

/** Makes both. */
export function createSigningRequest(): NewKey {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const info = der(
    sequence,
    der(integer, Buffer.from([0])),
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    der(attributes),
  );
  const signature = sign("sha256", info, privateKey);
  const whole = der(sequence, info, der(sequence, ecdsaWithSha256), der(bitString, Buffer.from([0]), signature));
  const lines = whole.toString("base64").match(/.{1,64}/g) ?? [];
  return {
    key: new Secret(privateKey.export({ type: "pkcs8", format: "pem" }).toString()),
    request: `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join("\n")}\n-----END CERTIFICATE REQUEST-----\n`,
  };
}
