// What kube-apiserver demands of a KMS v2 plugin's answers; it throws away what breaks one of these
// rules.
import type { EncryptResponse, StatusResponse } from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import { Finding } from "./probe.ts";

const restart =
  "the plugin breaks the KMS contract; kube-apiserver will refuse it. Check that the newest claviger-shim runs";

function assertKeyId(keyId: string): void {
  const size = Buffer.byteLength(keyId);
  if (size === 0) throw new Finding("key_id is empty", restart);
  if (size > limits.keyId)
    throw new Finding(`key_id has ${size} bytes, Kubernetes takes at most ${limits.keyId}`, restart);
}

/** @throws Finding when kube-apiserver would not take this Status. */
export function assertStatus({ version, healthz, keyId }: StatusResponse): void {
  if (version !== "v2" && version !== "v2beta1")
    throw new Finding(`Status says version '${version}', Kubernetes wants 'v2'`, restart);
  if (healthz !== "ok")
    throw new Finding(
      `Status says it is not healthy: ${healthz === "" ? "(empty)" : healthz}`,
      "kube-apiserver is not ready while this lasts; the text names the cause, the gateway's /readyz shows more",
    );
  assertKeyId(keyId);
}

/** A lower-case DNS name of two labels or more; kube-apiserver checks it so. */
const annotationKey = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+\.?$/;

/** @throws Finding when kube-apiserver would not take this answer to Encrypt. */
export function assertEncrypted({ ciphertext, keyId, annotations }: EncryptResponse, plaintext: Uint8Array): void {
  assertKeyId(keyId);
  if (ciphertext.length === 0) throw new Finding("the ciphertext is empty", restart);
  if (ciphertext.length > limits.ciphertext)
    throw new Finding(
      `the ciphertext has ${ciphertext.length} bytes, Kubernetes takes at most ${limits.ciphertext}`,
      restart,
    );
  if (Buffer.from(ciphertext).includes(Buffer.from(plaintext)))
    throw new Finding("the ciphertext holds the plaintext", "stop: this plugin does not encrypt");
  const names = Object.keys(annotations);
  const wrong = names.find((name) => !annotationKey.test(name));
  if (wrong !== undefined) throw new Finding(`Kubernetes does not take the annotation '${wrong}'`, restart);
  const total = Object.entries(annotations).reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + value.length,
    0,
  );
  if (total > limits.annotations)
    throw new Finding(`the annotations have ${total} bytes, Kubernetes takes at most ${limits.annotations}`, restart);
}
