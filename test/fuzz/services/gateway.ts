// A gateway that runs: hostile Connect at its listener, by a node of a cluster.
import { readFileSync } from "node:fs";
import { contentTypes, headers, methods } from "@claviger/proto/wire/protocol.ts";
import { either, json, protobuf } from "../formats.ts";
import { createSpeaker, requestFormat, requestOf } from "./http1.ts";
import { messagesOf, type Sealed, startKms } from "./kms.ts";
import type { Service } from "./service.ts";

function requestSeeds(good: Sealed): readonly Buffer[] {
  const { binary, batches, text, annotated } = messagesOf(good);
  const given = {
    [headers.protocolVersion]: "1",
    [headers.timeout]: "3000",
    [headers.traceparent]: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  };
  const seeds = [
    ...Object.entries({ ...binary, ...batches }).map(([name, body]) => [name, contentTypes.proto, body] as const),
    ["decrypt", contentTypes.proto, annotated] as const,
    ...Object.entries(text).map(([name, body]) => [name, contentTypes.json, Buffer.from(body)] as const),
  ];
  const more: readonly Readonly<Record<string, string>>[] = [
    { "content-encoding": "gzip" },
    { "transfer-encoding": "chunked" },
    { expect: "100-continue" },
    { "x-forwarded-client-cert": "By=spiffe://a;Cert=x" },
    { [headers.epochMac]: "AAAA", [headers.epoch]: "9.9.9" },
  ];
  return [
    ...seeds.map(([name, type, body]) =>
      requestOf(methods[name as keyof typeof methods], { "content-type": type, ...given }, body),
    ),
    ...more.map((extra) =>
      requestOf(methods.encrypt, { "content-type": contentTypes.proto, ...given, ...extra }, binary.encrypt),
    ),
  ];
}

export const gatewayService: Service = {
  name: "gateway-listener",
  depths: { "200": 0.05, request_malformed: 0.05, method_unknown: 0.01, ciphertext_invalid: 0.005 },
  async start(dir) {
    const { lab, good, common } = await startKms(dir);
    const pair = await lab.pki.node("cluster-1", "node-7");
    const url = new URL(lab.gateways[0]?.url ?? "");
    const tls = { cert: readFileSync(pair.cert), key: readFileSync(pair.key), ca: readFileSync(lab.pki.ca) };
    // As many as are sent at once.
    const speakers = Array.from({ length: 8 }, () =>
      createSpeaker({ host: url.hostname, port: Number(url.port), ...tls }),
    );
    const free = [...speakers];
    return {
      ...common,
      inputs: requestSeeds(good),
      format: requestFormat(either(json, protobuf)),
      async send(input) {
        const speaker = free.pop();
        if (speaker === undefined) throw new TypeError("more at once than there are connections");
        try {
          const reply = await speaker.send(input);
          if (reply === undefined) return "nothing";
          const reason = new RegExp(`^${headers.reason}: (\\w+)`, "im").exec(reply.head)?.[1];
          return reason ?? String(reply.status);
        } finally {
          free.push(speaker);
        }
      },
      async stop() {
        for (const speaker of speakers) speaker.close();
        await common.stop();
      },
    };
  },
};
