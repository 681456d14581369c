// The contract of the Upstream port, kept by an upstream of a real gateway.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { StatusRequestSchema } from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { createUpstream } from "@claviger/shim/src/upstream.ts";
import { upstreamContract } from "../../contracts/upstream.ts";
import { startLab } from "../../lab/lab.ts";
import { decryptRequest, noMetrics } from "../../unit/shim/fakes.ts";
import { freeze } from "../../lab/freeze.ts";

upstreamContract("an upstream of a real gateway", async () => {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const lab = await startLab({ dir, backend: "embedded", redis: false, shims: 0 });
  const [gateway] = lab.gateways;
  assert.ok(gateway !== undefined);
  const pair = await lab.pki.node("cluster-1", "node-1");
  const [cert, key, ca] = await Promise.all([pair.cert, pair.key, lab.pki.ca].map((file) => readFile(file, "utf8")));
  const tls = { cert: cert ?? "", key: key ?? "", ca: ca ?? "", serverName: undefined };
  const upstream = createUpstream([gateway.url], tls, noMetrics);
  return {
    upstream,
    url: gateway.url,
    status: { method: "status", body: toBinary(StatusRequestSchema, create(StatusRequestSchema)) },
    refused: { method: "decrypt", body: decryptRequest("no envelope"), reason: "ciphertext_invalid" },
    pause: () => freeze(gateway.proc.pid),
    resume: () => void process.kill(gateway.proc.pid, "SIGCONT"),
    end: () => lab.processes.stop(gateway.proc),
    async stop() {
      await upstream.close();
      await lab.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
});
