// Client certificates for tens of thousands of simulated nodes, in seconds: one is issued as Claviger's
// authority does it, the others are copies with names and a serial number of their own, signed anew. All
// have one key. Not a way to issue certificates.
import { createPrivateKey, randomBytes, sign, X509Certificate } from "node:crypto";
import { type Ca, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";

export type NodeCertificates = {
  /** The private key of all of them, PEM. */
  readonly key: string;
  /** A new certificate, PEM. Its names are as long as those of the first one. */
  readonly issue: (cluster: string, node: string) => string;
};

/** Where a DER element's content begins and ends. */
function elementAt(der: Buffer, offset: number): { readonly from: number; readonly to: number } {
  const first = der[offset + 1] ?? 0;
  const more = first < 0x80 ? 0 : first - 0x80;
  const length = more === 0 ? first : der.readUIntBE(offset + 2, more);
  const from = offset + 2 + more;
  return { from, to: from + length };
}

function element(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}

function replaceAll(bytes: Buffer, before: Buffer, after: Buffer): void {
  if (before.length !== after.length) throw new TypeError("names and serial numbers must keep their length");
  for (let at = bytes.indexOf(before); at >= 0; at = bytes.indexOf(before, at + before.length)) after.copy(bytes, at);
}

/** @param first the names of the certificate that the others are made from */
export async function createNodeCertificates(
  ca: Ca,
  first: { readonly cluster: string; readonly node: string },
): Promise<NodeCertificates> {
  const pair = await issueNode({ ca, ...first });
  const { raw, serialNumber } = new X509Certificate(pair.cert);
  const signingKey = ca.key.use((pem) => createPrivateKey(pem));
  const whole = elementAt(raw, 0);
  const toBeSigned = raw.subarray(whole.from, elementAt(raw, whole.from).to);
  const algorithmAt = whole.from + toBeSigned.length;
  const algorithm = raw.subarray(algorithmAt, elementAt(raw, algorithmAt).to);
  return {
    key: pair.key.use((pem) => pem),
    issue(cluster, node) {
      const own = Buffer.from(toBeSigned);
      const serial = randomBytes(serialNumber.length / 2);
      // Positive, and as long as the first one's.
      serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
      replaceAll(own, Buffer.from(serialNumber, "hex"), serial);
      replaceAll(
        own,
        Buffer.from(`cluster/${first.cluster}/node/${first.node}`),
        Buffer.from(`cluster/${cluster}/node/${node}`),
      );
      replaceAll(own, Buffer.from(`${first.node} of ${first.cluster}`), Buffer.from(`${node} of ${cluster}`));
      const signature = sign("sha256", own, signingKey);
      const der = element(0x30, own, algorithm, element(0x03, Buffer.from([0]), signature));
      const lines = der.toString("base64").replaceAll(/.{64}/g, "$&\n").trimEnd();
      return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
    },
  };
}
