// Checks 21 to 26: Status.
import { setTimeout as sleep } from "node:timers/promises";
import { type Check, expect } from "./check.ts";
import { codes, encrypt, status } from "./rpc.ts";

const printable = /^[\x20-\x7e]*$/;
const secretish = /hvs\.|\bs\.[A-Za-z0-9]{20}|-----BEGIN|https?:\/\/[^/]*:[^/]*@/;

function p99Of(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0;
}

export const statusChecks: readonly Check[] = [
  {
    id: 21,
    title: "a healthy backend: version v2, healthz ok, key_id of 1 to 1024 bytes",
    needs: [],
    async run(_target, at) {
      const { code, value } = await status(await at.open(), {});
      expect(code === 0 && value !== undefined, `Status answered ${code}`);
      expect(value.version === "v2" && value.healthz === "ok", `version ${value.version}, healthz ${value.healthz}`);
      const size = Buffer.byteLength(value.keyId);
      expect(size >= 1 && size <= 1024, `a key_id of ${size} bytes`);
      return `key_id of ${size} bytes`;
    },
  },
  {
    id: 22,
    title: "1,000 Status calls in 10 s: p99 below 50 ms, and hardly a call to the backend",
    needs: ["backend.calls"],
    async run(target, at) {
      const connection = await at.open();
      const measure = async () => {
        const before = (await target.backend?.calls?.()) ?? 0;
        const times: number[] = [];
        const idle: number[] = [];
        for (let i = 0; i < 100; i++) {
          const next = sleep(100);
          for (const { code, ms } of await Promise.all(Array.from({ length: 10 }, () => status(connection, {})))) {
            expect(code === 0, `Status answered ${code}`);
            times.push(ms);
          }
          // What the machine makes of ten calls that need no work at all: on a busy one that is not
          // nothing.
          for (const { ms } of await Promise.all(
            Array.from({ length: 10 }, () => connection.call("/v2.KeyManagementService/Nothing", Buffer.alloc(0))),
          ))
            idle.push(ms);
          await next;
        }
        const calls = ((await target.backend?.calls?.()) ?? 0) - before;
        return { calls, p99: p99Of(times), noise: p99Of(idle) };
      };
      const isGood = ({ p99, noise }: { p99: number; noise: number }): boolean => p99 < 50 || p99 < 4 * noise;
      // One pause of the machine is a hundredth of the calls: a plugin that is slow is slow twice.
      const first = await measure();
      const { calls, p99, noise } = isGood(first) ? first : await measure();
      expect(isGood({ p99, noise }), `p99 is ${p99.toFixed(1)} ms, that of calls without work ${noise.toFixed(1)} ms`);
      // Canaries of the plugin's own are calls too: a handful in ten seconds.
      expect(calls <= 40, `${calls} calls to the backend`);
      return `p99 ${p99.toFixed(1)} ms (calls without work ${noise.toFixed(1)} ms), ${calls} backend calls`;
    },
  },
  {
    id: 23,
    title: "a backend that hangs: Status answers before the provider's 3 s",
    needs: ["backend.hang", "backend.up"],
    async run(target, at) {
      const connection = await at.open();
      await target.backend?.hang?.();
      try {
        const times: number[] = [];
        for (let i = 0; i < 5; i++) {
          const { code, ms } = await status(connection, {}, { timeoutMs: 3000 });
          expect(
            code >= 0 && code !== codes.deadlineExceeded && ms < 2900,
            `answered ${code} after ${Math.round(ms)} ms`,
          );
          times.push(ms);
        }
        return `slowest ${Math.round(Math.max(...times))} ms`;
      } finally {
        await target.backend?.up?.();
        await sleep(1500);
      }
    },
  },
  {
    id: 24,
    title: "encrypt works and decrypt is forbidden: healthz is not ok and names the operation",
    needs: ["backend.forbidDecrypt", "backend.allowDecrypt"],
    async run(target, at) {
      const connection = await at.open();
      await target.backend?.forbidDecrypt?.();
      let seen = "";
      try {
        for (const end = Date.now() + 20_000; Date.now() < end && !/decrypt/i.test(seen); await sleep(200)) {
          const { code, value, message } = await status(connection, {});
          seen = code === 0 ? (value?.healthz ?? "") : message;
          expect(printable.test(seen) && !secretish.test(seen), "the text is not for everybody's eyes");
        }
      } finally {
        await target.backend?.allowDecrypt?.();
      }
      expect(/decrypt/i.test(seen) && seen !== "ok", `healthz is still ${JSON.stringify(seen)}`);
      for (const end = Date.now() + 20_000; Date.now() < end; await sleep(200))
        if ((await status(connection, {})).value?.healthz === "ok") return `healthz: ${seen}`;
      throw new Error("Status did not come back to ok");
    },
  },
  {
    id: 25,
    title: "the backend is down and comes back: ok within 10 s, the key_id unchanged",
    needs: ["backend.down", "backend.up"],
    async run(target, at) {
      const connection = await at.open();
      const before = (await status(connection, {})).value?.keyId;
      await target.backend?.down?.();
      await sleep(5000);
      await target.backend?.up?.();
      const back = Date.now();
      for (; Date.now() - back < 10_000; await sleep(100)) {
        const { value } = await status(connection, {});
        const works =
          value?.healthz === "ok" &&
          (await encrypt(connection, { plaintext: Buffer.alloc(32, 1), uid: "conformance" })).code === 0;
        if (!works) continue;
        expect(value.keyId === before, "the key_id is another one");
        return `Status and Encrypt after ${Date.now() - back} ms`;
      }
      throw new Error("not ok within 10 s");
    },
  },
  {
    id: 26,
    title: "the text of an unhealthy Status: one line of at most 256 bytes, no secret in it",
    needs: ["backend.down", "backend.up"],
    async run(target, at) {
      const connection = await at.open();
      await target.backend?.down?.();
      const texts = new Set<string>();
      try {
        for (const end = Date.now() + 3000; Date.now() < end; await sleep(200)) {
          const { value, message } = await status(connection, {});
          const failed = await encrypt(connection, { plaintext: Buffer.alloc(32, 1), uid: "conformance" });
          for (const text of [value?.healthz ?? "", message, failed.message]) {
            expect(Buffer.byteLength(text) <= 256, `a text of ${Buffer.byteLength(text)} bytes`);
            expect(
              printable.test(text) && !secretish.test(text),
              `a text that is not for everybody's eyes: ${JSON.stringify(text)}`,
            );
            texts.add(text);
          }
        }
      } finally {
        await target.backend?.up?.();
        await sleep(1500);
      }
      return [...texts].filter((text) => text !== "" && text !== "ok").join(" | ") || "no text but ok";
    },
  },
];
