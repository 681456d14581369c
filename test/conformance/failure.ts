// Check 40: what a caller sees of each fault of the backend.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Check, expect } from "./check.ts";
import { decrypt, encrypt } from "./rpc.ts";

const secretish = /hvs\.|\bs\.[A-Za-z0-9]{20}|-----BEGIN|https?:\/\//;

/** So many Encrypts in a row, a tenth of a second apart, and a fault is over. */
const okInARow = 8;

export const failureChecks: readonly Check[] = [
  {
    id: 40,
    title:
      "each fault of the backend gives the documented code, in time, without a secret, and nothing is tried after the deadline",
    needs: ["backend.answer", "backend.up", "backend.faults", "backend.calls"],
    async run(target, at) {
      const connection = await at.open();
      const { value } = await encrypt(connection, { plaintext: randomBytes(32), uid: "conformance" });
      expect(value !== undefined, "Encrypt failed before any fault");
      const request = {
        ciphertext: value.ciphertext,
        keyId: value.keyId,
        annotations: value.annotations,
        uid: "conformance",
      };
      const seen: string[] = [];
      try {
        for (const [fault, allowed] of Object.entries(target.backend?.faults ?? {})) {
          await target.backend?.answer?.(fault);
          for (const call of [
            () => encrypt(connection, { plaintext: randomBytes(32), uid: "conformance" }),
            () => decrypt(connection, request),
          ]) {
            const { code, message, ms } = await call();
            expect(
              allowed.includes(code),
              `${fault}: answered ${code} (${message}), documented: ${allowed.join(", ")}`,
            );
            expect(ms < 3000, `${fault}: after ${Math.round(ms)} ms`);
            expect(!secretish.test(message) && Buffer.byteLength(message) <= 1024, `${fault}: ${message}`);
          }
          const before = (await target.backend?.calls?.()) ?? 0;
          await sleep(1000);
          const after = (await target.backend?.calls?.()) ?? 0;
          expect(after - before <= 4, `${fault}: ${after - before} calls after everybody had left`);
          seen.push(`${fault}: ${allowed.join("/")}`);
          await target.backend?.up?.();
          // Several in a row: a plugin may have more than one replica behind it, each of which
          // notices by itself.
          const end = Date.now() + 15_000;
          for (let inOrder = 0; inOrder < okInARow; await sleep(100)) {
            const { code } = await encrypt(connection, { plaintext: randomBytes(32), uid: "conformance" });
            inOrder = code === 0 ? inOrder + 1 : 0;
            expect(Date.now() < end, `${fault}: Encrypt does not go on within 15 s after it was over`);
          }
        }
      } finally {
        await target.backend?.up?.();
      }
      return seen.join("; ");
    },
  },
];
