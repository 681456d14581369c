// A token is good once, for one name of one cluster, for a while; and what certifies a node says what it was
// asked for. (docs/architecture.md #enrollment.)
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test, type TestContext } from "node:test";
import { certifyNode, createCa, issueNode } from "@claviger/gateway-core/src/pki/authority.ts";
import { createCertificate, readSigningRequest } from "@claviger/gateway-core/src/pki/x509.ts";
import { openNodeCertificates, type NodeCertificates } from "@claviger/gateway-core/src/pki/node-certificates.ts";
import { type ClusterRecord, checkRecord } from "@claviger/gateway-core/src/registry/record.ts";
import type { Pki } from "@claviger/gateway-core/src/backend/port.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import {
  backendName,
  clusterName,
  mountPath,
  nodeName,
  operatorName,
  trustDomain,
} from "@claviger/proto/wire/names.ts";
import { createEnrollment } from "../../../../gateway/fleet/src/enrollment.ts";
import { openTokenDirectory } from "../../../../gateway/fleet/src/tokens.ts";
import { createSigningRequest } from "../../../../shim/src/signing-request.ts";
import { csrText, unreadableCsr } from "../../../fuzz/services/csr.ts";

const domain = trustDomain.parse("fleet.test");
const names = { cluster: clusterName.parse("blue"), node: nodeName.parse("n-1") };
const olga = operatorName.parse("olga");
const uri = "spiffe://fleet.test/cluster/blue/node/n-1";

function recordOf(more: object = {}): ClusterRecord {
  const raw = {
    name: "blue",
    uid: "01M8CZX875MFSCYTBWR058VXTG",
    state: "active",
    rotation: "auto",
    keys: [{ backend: "main", mount: "transit", key: "blue" }],
    ...more,
  };
  const { record } = checkRecord(raw);
  assert.ok(record !== undefined);
  return record;
}

async function start(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), "tokens-"));
  t.after(() => rm(dir, { recursive: true }));
  const state = {
    now: Date.parse("2026-11-26T12:00:00Z"),
    record: recordOf() as ClusterRecord | undefined,
    failure: undefined as Error | undefined,
  };
  const certificates: NodeCertificates = {
    sign: () => (state.failure === undefined ? Promise.resolve("a certificate") : Promise.reject(state.failure)),
  };
  const enrollment = createEnrollment({
    trustDomain: domain,
    tokens: await openTokenDirectory(dir),
    certificates,
    lifetimeSeconds: 3600,
    clusterOf: () => Promise.resolve(state.record),
    now: () => state.now,
  });
  const { token } = await enrollment.createToken(recordOf(), names.node, 60, olga);
  const enroll = (csr = createSigningRequest().request) => enrollment.enroll(token, csr, { cluster: "", node: "" });
  return { state, enroll };
}

suite("a token", () => {
  test("is good until it expires", async (t) => {
    const { state, enroll } = await start(t);
    state.now += 60_000;
    await assert.rejects(enroll(), /the token of blue\/n-1 has expired; 'claviger node token blue\/n-1' makes another/);
    state.now -= 1000;
    assert.equal((await enroll()).certificate, "a certificate");
  });

  test("stays good where nothing could be signed", async (t) => {
    const { state, enroll } = await start(t);
    state.failure = new KmsError("backend_unavailable");
    await assert.rejects(enroll(), KmsError);
    state.failure = undefined;
    await enroll();
    await assert.rejects(enroll(), /has been used/);
  });

  test("stays good after a request that cannot be read, or asks for another name", async (t) => {
    const { enroll } = await start(t);
    await assert.rejects(enroll("rubbish"), /this is no certificate request/);
    await assert.rejects(enroll("x".repeat(9000)), /at most 8192 characters/);
    await enroll();
  });

  test("is not good for a later cluster of the name, for one that is gone, and for a node that was revoked", async (t) => {
    const { state, enroll } = await start(t);
    for (const [record, why] of [
      [recordOf({ uid: "01M8CZX875MFSCYTBWR058VXTZ" }), /not in the registry any more as it was/],
      [undefined, /not in the registry any more as it was/],
      [recordOf({ nodes: { revoked: ["n-1"] } }), /blue\/n-1 is revoked/],
      [recordOf({ nodes: { expected: ["n-2"] } }), /n-1 is not one of the expected nodes of blue/],
    ] as const) {
      state.record = record;
      await assert.rejects(enroll(), why);
    }
    state.record = recordOf();
    await enroll();
  });
});

suite("a certificate request of a shim", () => {
  // X.690 section 10.1: the length in as few bytes as it takes. OpenBao refuses any other.
  const isMinimal = (bytes: Buffer): boolean => {
    for (let at = 0; at < bytes.length; ) {
      const [tag = 0, first = 0] = bytes.subarray(at);
      const more = first & 0x80 ? first & 0x7f : 0;
      const length = more === 0 ? first : bytes.readUIntBE(at + 2, more);
      if (more > 0 && (length < 0x80 || (more > 1 && length < 2 ** (8 * (more - 1))))) return false;
      const from = at + 2 + more;
      if (from + length > bytes.length) return false;
      const isConstructed = (tag & 0x20) !== 0;
      if (isConstructed && !isMinimal(bytes.subarray(from, from + length))) return false;
      at = from + length;
    }
    return true;
  };

  test("is DER, is signed by its key, and names nobody", async () => {
    for (let i = 0; i < 50; i += 1) {
      const { request } = createSigningRequest();
      const der = Buffer.from(request.replaceAll(/-----[^-]+-----/g, ""), "base64");
      assert.ok(isMinimal(der), request);
      assert.deepEqual((await readSigningRequest(request)).uris, []);
    }
  });

  test("is refused when a bit of it is another", async () => {
    const { request } = createSigningRequest();
    const der = Buffer.from(request.replaceAll(/-----[^-]+-----/g, ""), "base64");
    // In the subject: the signature does not fit any more.
    const at = der.indexOf("claviger-shim");
    der[at] = (der[at] ?? 0) ^ 1;
    const changed = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
    await assert.rejects(readSigningRequest(changed), /not signed by the key that it is for/);
  });

  test("is refused as none where its names cannot be read, though it is signed by its key", async () => {
    assert.deepEqual([...(await readSigningRequest(csrText([uri]))).uris], [uri]);
    await assert.rejects(readSigningRequest(unreadableCsr), { name: "TypeError", message: /no certificate request/ });
  });
});

suite("what Vault's PKI gives back", () => {
  const open = async (answer: (csr: string) => string | Promise<string>): Promise<NodeCertificates> => {
    const pki: Pki = { signCertificate: async (_, { request }) => await answer(request) };
    const config = {
      kind: "vault",
      backend: backendName.parse("main"),
      mount: mountPath.parse("pki"),
      role: "node",
    } as const;
    return await openNodeCertificates({ config, trustDomain: domain, pkiOf: () => pki });
  };

  test("is taken when it is what was asked for, and for nothing else", async () => {
    const ca = await createCa({ trustDomain: domain });
    const request = await readSigningRequest(createSigningRequest().request);
    const sign = async (answer: string | Promise<string>) =>
      (await open(() => answer)).sign(request, names, 3600, AbortSignal.timeout(1000));
    const good = await certifyNode({ ca, request, ...names });
    assert.equal(await sign(good), good);
    const other = { ...names, node: nodeName.parse("n-2") };
    const dates = { notBefore: new Date(), notAfter: new Date(Date.now() + 1000) };
    const authority = await createCertificate({ commonName: "x", names: { uri }, use: "ca", ...dates });
    for (const [answer, why] of [
      ["", /a certificate that is missing/],
      ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", /a certificate that does not parse/],
      [
        certifyNode({ ca, request, ...other }),
        /a certificate with other names than spiffe:\/\/fleet.test\/cluster\/blue\/node\/n-1/,
      ],
      [issueNode({ ca, ...names }).then(({ cert }) => cert), /a certificate for another key/],
      [authority.cert, /a certificate for another key/],
    ] as const)
      await assert.rejects(sign(answer), (error: unknown) => {
        assert.ok(error instanceof KmsError && error.reason === "backend_protocol_error");
        assert.match((error.cause as Error).message, why);
        return true;
      });
  });
});
