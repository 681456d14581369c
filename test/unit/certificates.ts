// Certificates for tests beyond those that Claviger issues itself: intermediates, the wrong purpose,
// expired authorities.
import type { Ca, KeyPair } from "@claviger/gateway-core/src/pki/authority.ts";
import { createCertificate } from "@claviger/gateway-core/src/pki/x509.ts";
import { trustDomain } from "@claviger/proto/wire/names.ts";

const hour = 3_600_000;
const domain = trustDomain.parse("fleet.test");

/** A pair with its key as text, as TLS options want it. */
export type Pem = { readonly cert: string; readonly key: string };

export function pemOf({ cert, key }: KeyPair): Pem {
  return { cert, key: key.use((text) => text) };
}

/** @param notAfter Unix milliseconds; an hour from now when absent */
export async function createAuthority(name: string, issuer?: KeyPair, notAfter = Date.now() + hour): Promise<Ca> {
  const pair = await createCertificate({
    commonName: name,
    names: { uri: "spiffe://fleet.test" },
    use: "ca",
    pathLength: 3,
    notBefore: new Date(Date.now() - 3 * hour),
    notAfter: new Date(notAfter),
    ...(issuer !== undefined && { issuer }),
  });
  return { ...pair, trustDomain: domain, notAfter: new Date(notAfter) };
}

/** A leaf of any names and purpose. */
export async function createLeaf({
  issuer,
  use,
  uri = "spiffe://fleet.test/cluster/prod/node/cp-1",
  ips = [],
  dns = [],
  notBefore = Date.now() - 3 * hour,
  notAfter = Date.now() + hour,
}: {
  readonly issuer: KeyPair;
  readonly use: "server" | "client";
  readonly uri?: string;
  readonly ips?: readonly string[];
  readonly dns?: readonly string[];
  readonly notBefore?: number;
  readonly notAfter?: number;
}): Promise<Pem> {
  return pemOf(
    await createCertificate({
      commonName: "leaf",
      names: { uri, ips, dns },
      use,
      issuer,
      notBefore: new Date(notBefore),
      notAfter: new Date(notAfter),
    }),
  );
}
