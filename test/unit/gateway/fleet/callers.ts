// Whoever may call the fleet service in tests, and who should not: by certificate, and by token.
import { type Ca, createCa, issueNode, issueOperator, type KeyPair } from "@claviger/gateway-core/src/pki/authority.ts";
import { createCertificate } from "@claviger/gateway-core/src/pki/x509.ts";
import { trustDomain } from "@claviger/proto/wire/names.ts";
import type { Credentials } from "./call.ts";
import { badTokens, goodTokens } from "./issuer.ts";

export const domain = trustDomain.parse("fleet.test");
const day = 86_400_000;

type Pair = { readonly cert: string; readonly key: string };

export async function pemOf(pair: Promise<KeyPair>): Promise<Pair> {
  const { cert, key } = await pair;
  return { cert, key: key.use(String) };
}

/** Whoever comes with a token: every kind that there is, and that there should not be. */
export async function tokenCallersOf(ca: Ca): Promise<Readonly<Record<string, Credentials>>> {
  const tokens = { ...(await goodTokens()), ...(await badTokens()) };
  const token = tokens["admin by token"] ?? "";
  return {
    ...Object.fromEntries(Object.entries(tokens).map(([name, one]) => [name, { token: one }])),
    "admin with a certificate and a token": { ...(await pemOf(issueOperator({ ca, name: "ada" }))), token },
    "node with a token": { ...(await pemOf(issueNode({ ca, cluster: "red", node: "n-1" }))), token },
  };
}

/** Every kind of caller with a certificate that there is, and that there should not be. */
export async function callersOf(ca: Ca): Promise<Readonly<Record<string, Credentials>>> {
  const other = await createCa({ trustDomain: domain });
  const foreign = await createCa({ trustDomain: "elsewhere.test" });
  const leaf = (uri: string, extra: object = {}) =>
    pemOf(
      createCertificate({
        commonName: "x",
        names: { uri },
        use: "client",
        notBefore: new Date(Date.now() - day),
        notAfter: new Date(Date.now() + day),
        issuer: ca,
        ...extra,
      }),
    );
  return {
    nobody: undefined,
    node: await pemOf(issueNode({ ca, cluster: "red", node: "n-1" })),
    "revoked node": await pemOf(issueNode({ ca, cluster: "blue", node: "gone" })),
    viewer: await pemOf(issueOperator({ ca, name: "vera" })),
    operator: await pemOf(issueOperator({ ca, name: "olga" })),
    "operator of blue": await pemOf(issueOperator({ ca, name: "bob" })),
    admin: await pemOf(issueOperator({ ca, name: "ada" })),
    "operator without a role": await pemOf(issueOperator({ ca, name: "zoe" })),
    "admin of another CA": await pemOf(issueOperator({ ca: other, name: "ada" })),
    "admin of a foreign trust domain": await pemOf(
      issueOperator({ ca: { ...ca, trustDomain: foreign.trustDomain }, name: "ada" }),
    ),
    "admin whose certificate has expired": await leaf(`spiffe://${domain}/operator/ada`, {
      notAfter: new Date(Date.now() - 1000),
    }),
    "admin with a server's certificate": await leaf(`spiffe://${domain}/operator/ada`, { use: "server" }),
    "admin with a second name": await leaf(`spiffe://${domain}/operator/ada`, {
      names: { uri: `spiffe://${domain}/operator/ada`, dns: [`x, URI:spiffe://${domain}/operator/bob`] },
    }),
    "somebody with another path": await leaf(`spiffe://${domain}/gateway`),
  };
}
