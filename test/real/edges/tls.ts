// Certificates of what stands in front of a dependency: a good one, one that has expired, and one of
// somebody else.
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Ca, createCa, issueGateway } from "@claviger/gateway-core/src/pki/authority.ts";
import type { ServerPair } from "../../lab/fault-proxy.ts";

export type Certificates = {
  /** The file of the CA that signed `good` and `expired`. */
  readonly ca: string;
  readonly dir: string;
  readonly good: ServerPair;
  readonly expired: ServerPair;
  readonly foreign: ServerPair;
};

/** When a certificate was issued that has expired. */
export const longAgo = (): number => Date.now() - 200 * 24 * 60 * 60 * 1000;

export async function pairOf(ca: Ca, clock?: () => number): Promise<ServerPair> {
  const { cert, key } = await issueGateway({
    ca,
    ips: ["127.0.0.1"],
    dnsNames: ["localhost"],
    ...(clock && { clock }),
  });
  return { cert, key: key.use((pem) => pem) };
}

export async function createCertificates(): Promise<Certificates> {
  const [ca, stranger] = await Promise.all([
    createCa({ trustDomain: "edges.test", clock: longAgo }),
    createCa({ trustDomain: "edges.test" }),
  ]);
  const dir = mkdtempSync(join(tmpdir(), "claviger-edges-"));
  writeFileSync(join(dir, "ca.crt"), ca.cert);
  const [good, expired, foreign] = await Promise.all([pairOf(ca), pairOf(ca, longAgo), pairOf(stranger)]);
  return { ca: join(dir, "ca.crt"), dir, good, expired, foreign };
}
