// Readers of who is asking: client certificates, and those that a proxy passes on.
import { X509Certificate } from "node:crypto";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { trustDomain } from "@claviger/proto/wire/names.ts";
import { readIdentity, readUri } from "@claviger/gateway-core/src/identity.ts";
import { createCa, issueGateway, issueNode, issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import { parseForwarded } from "../../../gateway/server/src/http/forwarded.ts";
import { der } from "../formats.ts";
import type { Target } from "../target.ts";
import { texts } from "./common.ts";

const domain = trustDomain.parse("fleet.test");

async function certificates(): Promise<readonly Buffer[]> {
  const ca = await createCa({ trustDomain: domain });
  const pairs = await Promise.all([
    issueNode({ ca, cluster: "prod", node: "cp-1.example" }),
    issueOperator({ ca, name: "ada" }),
    issueGateway({ ca, dnsNames: ["gateway.example", "*.example"], ips: ["192.0.2.1", "2001:db8::1"] }),
  ]);
  return [...pairs, ca].map(({ cert }) => new X509Certificate(cert).raw);
}
const certificateSeeds = await certificates();

export const certificateTargets: readonly Target[] = [
  {
    name: "forwarded",
    depths: { "a certificate": 0.005, elements: 0.1, refused: 0.02 },
    // And one with a certificate and a chain, in the corpus.
    seeds: () => texts("By=spiffe://a;Cert=x", 'Subject="CN=\\"a\\", O=b";URI=spiffe://x', "a,b;c"),
    run(input, reach) {
      const elements = parseForwarded(input.toString("latin1"));
      if (elements !== undefined)
        reach(elements.some((element) => element !== undefined) ? "a certificate" : "elements");
      return undefined;
    },
    isExpected: () => false,
  },
  {
    name: "identity",
    depths: { node: 0.01, operator: 0.01, certificate: 0.02 },
    seeds: () => certificateSeeds,
    format: der,
    run(input, reach) {
      let certificate: X509Certificate;
      try {
        certificate = new X509Certificate(input);
      } catch {
        return undefined;
      }
      reach("certificate");
      const identity = readIdentity(certificate, domain);
      const path =
        identity.kind === "node"
          ? `cluster/${identity.cluster}/node/${identity.node}`
          : `operator/${identity.operator}`;
      if (readUri(certificate) !== `spiffe://${domain}/${path}`) throw new TypeError("an identity of another name");
      reach(identity.kind);
      return undefined;
    },
    isExpected: (error) => error instanceof KmsError && error.reason === "identity_invalid",
  },
];
