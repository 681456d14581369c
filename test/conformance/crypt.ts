// Checks 27 to 35: Encrypt and Decrypt of KMS v2.
import { randomBytes } from "node:crypto";
import { type Check, expect, type Target } from "./check.ts";
import { codes, type Connection, decrypt, encrypt, status, type v2 } from "./rpc.ts";

type Sealed = Pick<v2.EncryptResponse, "ciphertext" | "keyId" | "annotations">;

const fqdn = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+\.?$/;

async function seal(connection: Connection, plaintext: Uint8Array): Promise<Sealed> {
  const { code, value, message } = await encrypt(connection, { plaintext, uid: "conformance" });
  expect(code === 0 && value !== undefined, `Encrypt answered ${code}: ${message}`);
  return { ciphertext: value.ciphertext, keyId: value.keyId, annotations: value.annotations };
}

function assertFits({ ciphertext, annotations }: Sealed): void {
  expect(ciphertext.length >= 1 && ciphertext.length <= 1024, `a ciphertext of ${ciphertext.length} bytes`);
  const total = Object.entries(annotations).reduce((sum, [key, value]) => sum + key.length + value.length, 0);
  expect(
    total <= 32_768 && Object.keys(annotations).every((key) => fqdn.test(key)),
    "annotations that kube-apiserver refuses",
  );
}

async function refused(
  connection: Connection,
  what: string,
  sealed: Sealed,
  allowed: readonly number[] = [codes.invalidArgument],
): Promise<void> {
  const { code, value } = await decrypt(connection, { ...sealed, uid: "conformance" });
  expect(value === undefined, `${what}: a plaintext came back`);
  expect(allowed.includes(code), `${what}: answered ${code}`);
}

function flipped(bytes: Uint8Array, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

async function calls(target: Target): Promise<number> {
  return (await target.backend?.calls?.()) ?? 0;
}

export const cryptChecks: readonly Check[] = [
  {
    id: 27,
    title: "32 random bytes come back; ciphertext and annotations are of a size and form that kube-apiserver takes",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      for (let i = 0; i < 20; i++) {
        const plaintext = randomBytes(32);
        const sealed = await seal(connection, plaintext);
        assertFits(sealed);
        const { value } = await decrypt(connection, { ...sealed, uid: "conformance" });
        expect(value !== undefined && plaintext.equals(value.plaintext), "other bytes came back");
      }
      return "20 round trips";
    },
  },
  {
    id: 28,
    title: "the key_id of Encrypt is that of Status before or after it, and of both while nothing rotates",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      const before = (await status(connection, {})).value?.keyId;
      const { keyId } = await seal(connection, randomBytes(32));
      const after = (await status(connection, {})).value?.keyId;
      expect(keyId === before && keyId === after, `Status ${before}, Encrypt ${keyId}, Status ${after}`);
      return "all three are the same";
    },
  },
  {
    id: 29,
    title: "the same plaintext twice gives two ciphertexts",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      const plaintext = randomBytes(32);
      const [one, two] = [await seal(connection, plaintext), await seal(connection, plaintext)];
      expect(!Buffer.from(one.ciphertext).equals(two.ciphertext), "the same ciphertext twice");
      return "two ciphertexts";
    },
  },
  {
    id: 30,
    title: "plaintexts of 0, 1, 4, 33 and 4096 bytes come back or are INVALID_ARGUMENT, and never overflow",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      const seen: string[] = [];
      for (const size of [0, 1, 4, 33, 4096]) {
        const plaintext = randomBytes(size);
        const { code, value } = await encrypt(connection, { plaintext, uid: "conformance" });
        expect(code === 0 || code === codes.invalidArgument, `${size} bytes: answered ${code}`);
        seen.push(`${size}: ${code === 0 ? "round trip" : "INVALID_ARGUMENT"}`);
        if (value === undefined) continue;
        assertFits(value);
        const back = await decrypt(connection, {
          ciphertext: value.ciphertext,
          keyId: value.keyId,
          annotations: value.annotations,
          uid: "conformance",
        });
        expect(
          back.value !== undefined && plaintext.equals(back.value.plaintext),
          `${size} bytes: other bytes came back`,
        );
      }
      return seen.join(", ");
    },
  },
  {
    id: 31,
    title:
      "one flipped bit in ciphertext, key_id or annotations, or an annotation more or less: refused, never a plaintext",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      const sealed = await seal(connection, randomBytes(32));
      const bits = sealed.ciphertext.length * 8;
      const step = Math.max(1, Math.floor(bits / 200));
      let count = 0;
      for (let bit = 0; bit < bits; bit += step, count++)
        await refused(connection, `bit ${bit} of the ciphertext`, {
          ...sealed,
          ciphertext: flipped(sealed.ciphertext, bit),
        });
      for (const i of [0, Math.floor(sealed.keyId.length / 2), sealed.keyId.length - 1]) {
        const keyId = `${sealed.keyId.slice(0, i)}${sealed.keyId[i] === "x" ? "y" : "x"}${sealed.keyId.slice(i + 1)}`;
        await refused(connection, "a changed key_id", { ...sealed, keyId });
      }
      await refused(connection, "one annotation more", {
        ...sealed,
        annotations: { ...sealed.annotations, "added.example.com": Buffer.from("x") },
      });
      for (const [name, value] of Object.entries(sealed.annotations)) {
        await refused(connection, "a changed annotation", {
          ...sealed,
          annotations: { ...sealed.annotations, [name]: flipped(value, 0) },
        });
        await refused(connection, "one annotation less", {
          ...sealed,
          annotations: Object.fromEntries(Object.entries(sealed.annotations).filter(([other]) => other !== name)),
        });
      }
      return `${count} flipped bits refused`;
    },
  },
  {
    id: 32,
    title: "a ciphertext of one key with the key_id of another is refused",
    needs: ["rotate"],
    async run(target, at) {
      const connection = await at.open();
      const old = await seal(connection, randomBytes(32));
      await target.rotate?.();
      let now = old;
      for (const end = Date.now() + (target.propagationMs ?? 15_000); now.keyId === old.keyId && Date.now() < end; )
        now = await seal(connection, randomBytes(32));
      expect(now.keyId !== old.keyId, "the rotation was not seen");
      await refused(connection, "old ciphertext, new key_id", { ...old, keyId: now.keyId });
      await refused(connection, "new ciphertext, old key_id", { ...now, keyId: old.keyId });
      return "refused both ways";
    },
  },
  {
    id: 33,
    title:
      "empty or oversized ciphertext, key_id and annotations, and a key_id that is no UTF-8: INVALID_ARGUMENT without a call to the backend",
    needs: ["backend.calls"],
    async run(target, at) {
      const connection = await at.open();
      const sealed = await seal(connection, randomBytes(32));
      const before = await calls(target);
      await refused(connection, "an empty ciphertext", { ...sealed, ciphertext: Buffer.alloc(0) });
      await refused(connection, "an empty key_id", { ...sealed, keyId: "" });
      await refused(connection, "1 MiB of ciphertext", { ...sealed, ciphertext: Buffer.alloc(1024 * 1024, 1) });
      await refused(connection, "40 KiB of annotations", {
        ...sealed,
        annotations: { "a.example.com": Buffer.alloc(40 * 1024) },
      });
      const bytes = Buffer.concat([
        Buffer.from([0x0a, (sealed.ciphertext.length & 0x7f) | 0x80, sealed.ciphertext.length >> 7]),
        sealed.ciphertext,
        Buffer.from([0x1a, 3, 0xff, 0xfe, 0xfd]),
      ]);
      const { code, body } = await connection.call("/v2.KeyManagementService/Decrypt", bytes);
      expect(
        code === codes.invalidArgument && (body === undefined || body.length === 0),
        `a key_id that is no UTF-8: answered ${code}`,
      );
      // A canary of the plugin's own may fall in between.
      const after = await calls(target);
      expect(after - before <= 2, `${after - before} calls to the backend`);
      return "five refusals";
    },
  },
  {
    id: 34,
    title: "what one node encrypted, another one decrypts, cold",
    needs: ["secondSocket"],
    async run(target, at) {
      const [one, two] = [await at.open(), await at.open(target.secondSocket)];
      for (const [from, to] of [
        [one, two],
        [two, one],
      ] as const) {
        const plaintext = randomBytes(32);
        const { value } = await decrypt(to, { ...(await seal(from, plaintext)), uid: "conformance" });
        expect(value !== undefined && plaintext.equals(value.plaintext), "other bytes came back");
      }
      return "both ways";
    },
  },
  {
    id: 35,
    title: "uids that repeat, are empty, 10 KiB long or hold CR and LF: served, and no line of their own in a log",
    needs: ["logs"],
    async run(target, at) {
      const connection = await at.open();
      const injected = "conformance-injected-line";
      for (const uid of ["same", "same", "", `x\r\n{"${injected}":1}\n`, "y".repeat(10 * 1024)]) {
        const { code, value } = await encrypt(connection, { plaintext: randomBytes(32), uid });
        expect(code === 0 && value !== undefined, `uid of ${uid.length} characters: answered ${code}`);
        const back = await decrypt(connection, {
          ciphertext: value.ciphertext,
          keyId: value.keyId,
          annotations: value.annotations,
          uid,
        });
        expect(back.code === 0, `uid of ${uid.length} characters: Decrypt answered ${back.code}`);
      }
      const lines = ((await target.logs?.()) ?? "").split("\n");
      expect(!lines.some((line) => line.startsWith(`{"${injected}"`)), "a uid made a line of its own");
      expect(!lines.some((line) => line.includes("y".repeat(1025))), "a uid was logged at full length");
      return "five uids";
    },
  },
];
