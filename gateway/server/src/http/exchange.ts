// One HTTP exchange: what its audit record and its metrics are made of, and the buffers to wipe
// when it is over.
import { createHash } from "node:crypto";
import { type KmsError, type Reason, rowOf } from "@claviger/proto/wire/errors.ts";
import { zeroize } from "@claviger/proto/runtime/secret.ts";
import { limits } from "@claviger/proto/wire/protocol.ts";
import type { AuditEntry } from "@claviger/gateway-core/src/audit/record.ts";
import type { Identity } from "@claviger/gateway-core/src/identity.ts";
import type { Trail } from "../kms/call.ts";

const uidsKept = 32;

export class Exchange {
  readonly at = Date.now();
  readonly trail: Trail = {};
  readonly #began = performance.now();
  readonly #secrets: Uint8Array[] = [];
  readonly #uids: string[] = [];
  #calls = 0;
  #isOver = false;
  identity: Identity | undefined;
  /** Aborts what is done for this request; set once its body is there. */
  abort: ((error: KmsError) => void) | undefined;
  method: string;
  reason: Reason | undefined;
  ciphertextSha256: string | undefined;

  constructor(method: string) {
    this.method = method;
  }

  /** Notes a call of this request: most have one, a batch has many. */
  addCall(uid: string): void {
    this.#calls += 1;
    if (uid !== "" && this.#uids.length < uidsKept) this.#uids.push(uid.slice(0, limits.uid));
  }

  /** Notes the ciphertext that is asked about or was made. */
  addCiphertext(bytes: Uint8Array): void {
    this.ciphertextSha256 = createHash("sha256").update(bytes).digest("hex");
  }

  /**
   * Bytes that may hold key material, wiped by `end`; at once when the reply has already left
   * without them.
   */
  own<B extends Uint8Array>(bytes: B): B {
    if (this.#isOver) zeroize(bytes);
    else this.#secrets.push(bytes);
    return bytes;
  }

  end(): void {
    this.#isOver = true;
    for (const bytes of this.#secrets.splice(0)) zeroize(bytes);
  }

  get milliseconds(): number {
    return Math.round((performance.now() - this.#began) * 100) / 100;
  }

  get outcome(): AuditEntry["outcome"] {
    return this.reason === undefined ? "ok" : rowOf(this.reason).outcome;
  }

  /** The audit record; JSON leaves out what is undefined. */
  entry(peer: string | undefined): AuditEntry {
    const { trail, identity } = this;
    return {
      at: this.at,
      method: this.method,
      outcome: this.outcome,
      ...(this.reason !== undefined && { reason: this.reason }),
      milliseconds: this.milliseconds,
      ...(identity?.kind === "node" && { cluster: identity.cluster, node: identity.node }),
      ...(identity?.kind === "operator" && { operator: identity.operator }),
      ...(identity !== undefined && { serial: identity.serial }),
      ...(this.#uids.length > 0 && { uids: this.#uids }),
      ...(this.#calls > 1 && { count: this.#calls }),
      ...(trail.keyId !== undefined && { keyId: trail.keyId }),
      ...(trail.backend !== undefined && { backend: trail.backend }),
      ...(trail.backendRequestId !== undefined && { backendRequestId: trail.backendRequestId }),
      ...(this.ciphertextSha256 !== undefined && { ciphertextSha256: this.ciphertextSha256 }),
      ...(peer !== undefined && { peer }),
    };
  }
}
