// x-forwarded-client-cert: what Envoy writes, and what somebody else would.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseForwarded } from "@claviger/gateway-server/src/http/forwarded.ts";
import { createAuthority, createLeaf } from "../../../certificates.ts";

const root = await createAuthority("root");
const intermediate = await createAuthority("intermediate", root);
const pem = encodeURIComponent((await createLeaf({ issuer: intermediate, use: "client" })).cert);
const otherPem = encodeURIComponent((await createLeaf({ issuer: intermediate, use: "client" })).cert);
const chain = `${pem}${encodeURIComponent(intermediate.cert)}`;
const serialOf = (text: string | undefined) => parseForwarded(`Cert="${text ?? ""}"`)?.[0]?.certificate.serialNumber;

/** The serial of each element's certificate, and how many came with it. */
function read(header: string): unknown {
  return parseForwarded(header)?.map(
    (element) =>
      element && [element.certificate.serialNumber === serialOf(pem) ? "first" : "other", element.sent.length],
  );
}

test("every form that Envoy documents is read", () => {
  const first = ["first", 0];
  for (const [header, elements] of [
    [`Cert="${pem}"`, [first]],
    [`By=spiffe://fleet.test/gateway;Hash=468ed33be74eee6556d90c01;Cert="${pem}";URI=spiffe://fleet.test/x`, [first]],
    [`Hash=0;Subject="CN=a,O=b;c=d";Cert="${pem}";URI=spiffe://a/b;URI=spiffe://a/c;DNS=a.test;DNS=b.test`, [first]],
    [String.raw`Subject="CN=\"quoted\", \"twice\",O=\\";` + `Cert="${pem}"`, [first]],
    [`Subject="";Cert="${pem}"`, [first]],
    [`By=;Hash=;Cert="${pem}";URI=`, [first]],
    [`Cert="${pem}";Chain="${chain}"`, [["first", 2]]],
    [`Hash=0;Chain="${chain}"`, [["first", 1]]],
    [`hash=0;cert="${pem}"`, [first]],
    [`Cert="${otherPem}";Subject="CN=a,O=b",By=b;Cert="${pem}"`, [["other", 0], first]],
    [`Cert="${otherPem}", Cert="${pem}"`, [["other", 0], first]],
    [`By=a;Hash=0,Cert="${pem}"`, [undefined, first]],
  ] as const)
    assert.deepEqual(read(header), elements, header.replaceAll(/%[^"]{40,}/g, "..."));
});

test("what Envoy would not write is refused as a whole", () => {
  for (const header of [
    "",
    "Cert",
    `Cert="${pem}";`,
    `Cert="${pem}",`,
    `,Cert="${pem}"`,
    `;Cert="${pem}"`,
    `Cert="${pem}"x`,
    `Cert="${pem}`,
    `Cert="${pem}";Cert="${otherPem}"`,
    `Cert="${pem}";cert="${otherPem}"`,
    `Cert="${pem}";Hash=0;Hash=1`,
    `Subject=CN="a";Cert="${pem}"`,
    `Subject="CN=a"b";Cert="${pem}"`,
    `Subject="a\\";Cert="${pem}"`,
    // A client began the header with a quote that it never ends, and the proxy went on.
    `Cert="${otherPem}";Subject=",By=b;Hash=0;Cert="${pem}"`,
    `Cert="${otherPem}";Subject="x\\,By=b;Hash=0;Cert="${pem}"`,
    `Cert="${otherPem}";Subject=\\,By=b;Hash=0;Cert="${pem}"`,
    `Cert="${pem}",`.repeat(8) + `Cert="${pem}"`,
    `Subject="${"x".repeat(70_000)}";Cert="${pem}"`,
  ])
    assert.equal(parseForwarded(header), undefined, header.replaceAll(/%[^"]{40,}/g, "...").slice(0, 200));
});

test("an element without exactly one certificate names nobody", () => {
  for (const header of [
    "Hash=0",
    'Cert=""',
    'Cert="garbage"',
    'Cert="%"',
    `Cert="${encodeURIComponent("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")}"`,
    `Cert="${pem}${otherPem}"`,
    `Cert="";Chain="${chain}"`,
    'Chain=""',
  ])
    assert.deepEqual(parseForwarded(header), [undefined], header.slice(0, 60));
});
