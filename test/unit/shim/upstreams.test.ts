// The contract of the Upstream port, kept by connections to a gateway and by the fake.
import { toBinary, create } from "@bufbuild/protobuf";
import { StatusRequestSchema } from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { headers, methods } from "@claviger/proto/wire/protocol.ts";
import { createUpstream } from "@claviger/shim/src/upstream.ts";
import { upstreamContract } from "../../contracts/upstream.ts";
import {
  createFakeUpstream,
  createFleet,
  decryptRequest,
  noMetrics,
  reply,
  startGateway,
  statusBytes,
} from "./fakes.ts";

const status = { method: "status", body: toBinary(StatusRequestSchema, create(StatusRequestSchema)) } as const;
const refused = { method: "decrypt", body: decryptRequest("bad"), reason: "ciphertext_invalid" } as const;

/** Open at first. */
function createGate() {
  let gate = Promise.withResolvers<void>();
  gate.resolve();
  return {
    pass: () => gate.promise,
    pause() {
      gate = Promise.withResolvers();
    },
    resume: () => gate.resolve(),
  };
}

upstreamContract("the fake upstream", () => {
  const { pass, ...gate } = createGate();
  const url = "https://gateway.test";
  let isGone = false;
  const upstream = createFakeUpstream(
    async ({ method }) => {
      await pass();
      if (isGone) throw new KmsError("gateway_unavailable");
      if (method === "decrypt") throw new KmsError(refused.reason);
      return reply(statusBytes("key-1"), { epoch: { text: "0.1.1" } });
    },
    [url],
  );
  const end = () => {
    isGone = true;
    return Promise.resolve();
  };
  return Promise.resolve({ upstream, url, status, refused, ...gate, end, stop: () => upstream.close() });
});

upstreamContract("an upstream of one gateway", async () => {
  const { pass, ...gate } = createGate();
  const stops: (() => unknown)[] = [];
  const fleet = await createFleet();
  const { url, stop: end } = await startGateway(
    { after: (stop) => void stops.push(stop as () => unknown) },
    fleet,
    async (asked) => {
      await pass();
      if (asked.path === methods.decrypt) return { reason: refused.reason };
      return { body: statusBytes("key-1"), headers: { [headers.epoch]: "0.1.1" } };
    },
  );
  const upstream = createUpstream([url], fleet.tls, noMetrics);
  return {
    upstream,
    url,
    status,
    refused,
    ...gate,
    end,
    async stop() {
      gate.resume();
      await upstream.close();
      for (const stop of stops) await stop();
    },
  };
});
