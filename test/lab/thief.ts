// Somebody who holds a node's certificate and key and calls a gateway with them, on one connection that
// stays open.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { DecryptRequestSchema, DecryptResponseSchema } from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { contentTypes, headers, methods } from "@claviger/proto/wire/protocol.ts";
import { Agent, request } from "undici";

export type Thief = {
  /** `ok`, or the reason of the refusal: of the request, or of the handshake. */
  status(): Promise<string>;
  decrypt(sealed: {
    readonly ciphertext: Uint8Array;
    readonly keyId: string;
  }): Promise<{ readonly reason: string; readonly plaintext?: Buffer }>;
  /** How many were opened so far. */
  connections(): number;
  close(): Promise<void>;
};

/** What the thief has; without a certificate, nobody in particular. */
export type Loot = { readonly ca: string | Buffer; readonly cert?: string | Buffer; readonly key?: string | Buffer };

/** @param url of the gateway */
export function openThief(url: string, loot: Loot): Thief {
  let connections = 0;
  const agent = new Agent({ connections: 1, connect: { ...loot } });
  agent.on("connect", () => void (connections += 1));
  const ask = async (path: string, body?: Uint8Array): Promise<{ readonly reason: string; readonly body: Buffer }> => {
    const answer = await request(`${url}${path}`, {
      method: "POST",
      dispatcher: agent,
      headers: { "content-type": contentTypes.proto },
      ...(body !== undefined && { body }),
    });
    const bytes = Buffer.from(await answer.body.arrayBuffer());
    const { [headers.reason]: reason, [headers.handshake]: handshake } = answer.headers;
    if (answer.statusCode === 200) return { reason: "ok", body: bytes };
    return { reason: String(reason ?? handshake ?? `HTTP ${answer.statusCode}`), body: bytes };
  };
  return {
    status: async () => (await ask(methods.status)).reason,
    async decrypt({ ciphertext, keyId }) {
      const message = create(DecryptRequestSchema, { ciphertext, keyId, uid: "thief" });
      const { reason, body } = await ask(methods.decrypt, toBinary(DecryptRequestSchema, message));
      if (reason !== "ok") return { reason };
      return { reason, plaintext: Buffer.from(fromBinary(DecryptResponseSchema, body).plaintext) };
    },
    connections: () => connections,
    close: () => agent.close(),
  };
}
