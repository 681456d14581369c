// Checks 9 to 20: gRPC and HTTP/2 from callers good, odd and hostile.
import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { setTimeout as sleep } from "node:timers/promises";
import { type Check, expect } from "./check.ts";
import { codes, decrypt, encrypt, frame, paths, rawSocket, status } from "./rpc.ts";

export const transportChecks: readonly Check[] = [
  {
    id: 9,
    title: ":authority localhost and a percent-encoded socket path are served",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      for (const authority of ["localhost", "%2Frun%2Fkms.sock"]) {
        const { code } = await status(connection, {}, { authority });
        expect(code === 0, `${authority}: answered ${code}`);
      }
      return "both";
    },
  },
  {
    id: 10,
    title: "an authority that is empty or a path resets that stream alone",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      const seen: string[] = [];
      for (const authority of ["", "/run/kms.sock"]) {
        const { code, reset } = await status(connection, {}, { authority, timeoutMs: 2000 });
        seen.push(`${JSON.stringify(authority)}: ${code === 0 ? "served" : `code ${code}, reset ${reset}`}`);
        const next = await status(connection, {});
        expect(next.code === 0, `the call after authority ${JSON.stringify(authority)} answered ${next.code}`);
      }
      return seen.join("; ");
    },
  },
  {
    id: 11,
    title: "an unknown method or service is UNIMPLEMENTED, and the connection stays",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      for (const path of ["/v2.KeyManagementService/Nothing", "/v9.KeyManagementService/Status", "/"]) {
        const { code } = await connection.call(path, Buffer.alloc(0));
        expect(code === codes.unimplemented, `${path}: answered ${code}`);
      }
      expect((await status(connection, {})).code === 0, "the connection is gone");
      return "three times";
    },
  },
  {
    id: 12,
    title: "content-type application/grpc+proto, and no te header: served or an error, never a hang",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      const seen: string[] = [];
      for (const headers of [{ "content-type": "application/grpc+proto" }, { "content-type": "text/html" }] as const) {
        const { code, headers: got, ms } = await status(connection, {}, { headers, timeoutMs: 2500 });
        expect(
          ms < 2000 && (code >= 0 || got[":status"] !== undefined),
          `${headers["content-type"]}: nothing within ${Math.round(ms)} ms`,
        );
        seen.push(`${headers["content-type"]}: ${code >= 0 ? `code ${code}` : `HTTP ${String(got[":status"])}`}`);
      }
      expect((await status(connection, {})).code === 0, "the connection is gone");
      return seen.join("; ");
    },
  },
  {
    id: 13,
    title: "compressed messages are handled or UNIMPLEMENTED, and a gzip bomb is no more than an error",
    needs: ["rss"],
    async run(target, at) {
      const connection = await at.open();
      const seen: string[] = [];
      for (const encoding of ["gzip", "br"]) {
        const raw = frame(gzipSync(Buffer.alloc(0)), 1);
        const { code } = await connection.call(paths.status, Buffer.alloc(0), {
          raw,
          headers: { "grpc-encoding": encoding },
        });
        expect(
          encoding === "gzip" ? [0, codes.unimplemented].includes(code) : code !== 0 && code >= 0,
          `${encoding}: answered ${code}`,
        );
        seen.push(`${encoding}: ${code}`);
      }
      const before = (await target.rss?.()) ?? 0;
      const bomb = frame(gzipSync(Buffer.alloc(256 * 1024 * 1024)), 1);
      const { code } = await connection.call(paths.encrypt, Buffer.alloc(0), {
        raw: bomb,
        headers: { "grpc-encoding": "gzip" },
        timeoutMs: 10_000,
      });
      expect(code !== 0, "a gzip bomb was taken");
      const after = (await target.rss?.()) ?? 0;
      expect(after - before < 100 * 1024 * 1024, `memory grew by ${Math.round((after - before) / 1e6)} MB`);
      expect((await status(await at.open(), {})).code === 0, "not serving afterwards");
      return `${seen.join(", ")}; bomb: code ${code}, memory ${Math.round((after - before) / 1e6)} MB`;
    },
  },
  {
    id: 14,
    title: "a request of 5 MiB is RESOURCE_EXHAUSTED, and memory stays bounded",
    needs: ["rss"],
    async run(target, at) {
      const before = (await target.rss?.()) ?? 0;
      for (let i = 0; i < 5; i++) {
        const connection = await at.open();
        const { code } = await encrypt(
          connection,
          { plaintext: Buffer.alloc(5 * 1024 * 1024), uid: "conformance" },
          { timeoutMs: 10_000 },
        );
        expect(code === codes.resourceExhausted, `answered ${code}`);
      }
      const after = (await target.rss?.()) ?? 0;
      expect(after - before < 150 * 1024 * 1024, `memory grew by ${Math.round((after - before) / 1e6)} MB`);
      return `memory ${Math.round((after - before) / 1e6)} MB`;
    },
  },
  {
    id: 15,
    title: "truncated protobuf, wrong wire types and random bytes: INTERNAL or INVALID_ARGUMENT, and the process lives",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      const junk = [
        Buffer.from([0x0a, 0x20, 0x01]),
        Buffer.from([0x08, 0x01, 0x10, 0x02]),
        Buffer.from([0xff]),
        // After a wire type that there is none of: random bytes alone may be a request.
        ...Array.from({ length: 50 }, () => Buffer.concat([Buffer.from([0x0f]), randomBytes(63)])),
      ];
      const seen = new Set<number>();
      for (const path of [paths.encrypt, paths.decrypt, paths.v1Encrypt, paths.v1Decrypt]) {
        for (const bytes of junk) {
          const { code } = await connection.call(path, bytes);
          expect(code === codes.internal || code === codes.invalidArgument, `${path}: answered ${code}`);
          seen.add(code);
        }
      }
      // A frame that promises more than comes.
      const { code } = await connection.call(paths.encrypt, Buffer.alloc(0), {
        raw: Buffer.from([0, 0, 0, 0, 9, 1]),
        timeoutMs: 2000,
      });
      expect(code !== 0, "a truncated frame was taken");
      expect((await status(await at.open(), {})).code === 0, "not serving afterwards");
      return `codes ${[...seen].join(", ")}`;
    },
  },
  {
    id: 16,
    title: "unknown fields are ignored",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      const extra = Buffer.from([0xfa, 0x07, 0x03, 0x61, 0x62, 0x63]);
      const plaintext = randomBytes(32);
      const { code } = await connection.call(paths.encrypt, Buffer.concat([Buffer.from([0x0a, 32]), plaintext, extra]));
      expect(code === 0, `answered ${code}`);
      expect((await connection.call(paths.status, extra)).code === 0, "Status did not");
      return "Encrypt and Status";
    },
  },
  {
    id: 17,
    title: "200 identical Decrypts at once all succeed, and the backend sees few",
    needs: ["backend.calls"],
    async run(target, at) {
      const connection = await at.open();
      const plaintext = randomBytes(32);
      const { value } = await encrypt(connection, { plaintext, uid: "conformance" });
      expect(value !== undefined, "Encrypt failed");
      const before = (await target.backend?.calls?.()) ?? 0;
      const request = {
        ciphertext: value.ciphertext,
        keyId: value.keyId,
        annotations: value.annotations,
        uid: "conformance",
      };
      const replies = await Promise.all(Array.from({ length: 200 }, () => decrypt(connection, request)));
      expect(
        replies.every((reply) => reply.value !== undefined && plaintext.equals(reply.value.plaintext)),
        "some failed, or gave other bytes",
      );
      const calls = ((await target.backend?.calls?.()) ?? 0) - before;
      expect(calls <= 10, `${calls} backend calls`);
      return `${calls} backend calls`;
    },
  },
  {
    id: 18,
    title: "500 open streams cancelled by the client, 30 a second: nothing leaks, the connection stays",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      let left = 500;
      while (left > 0) {
        const tick = sleep(500);
        const cancel = new AbortController();
        const flights = Array.from({ length: Math.min(15, left) }, () =>
          encrypt(connection, { plaintext: randomBytes(32), uid: "conformance" }, { signal: cancel.signal }),
        );
        left -= flights.length;
        cancel.abort();
        await Promise.all(flights);
        await tick;
      }
      expect(!connection.isClosed(), "the connection was closed");
      const { code } = await status(connection, {});
      expect(code === 0, `Status on the same connection answered ${code}`);
      return "same connection, still served";
    },
  },
  {
    id: 19,
    title: "three connections at the same time are all served",
    needs: [],
    async run(_target, at) {
      const connections = [await at.open(), await at.open(), await at.open()];
      const replies = await Promise.all(
        connections.flatMap((connection) => Array.from({ length: 10 }, () => status(connection, {}))),
      );
      expect(
        replies.every(({ code }) => code === 0),
        "some were not",
      );
      return "30 calls";
    },
  },
  {
    id: 20,
    title: "clients that send nothing, or half a preface, disturb nobody and are closed in the end",
    needs: [],
    async run(target, at) {
      const silent = await rawSocket(target.socket);
      const half = await rawSocket(target.socket);
      half.write("PRI * HTTP/2.0\r\n");
      const closed = [silent, half].map((socket) => {
        socket.on("error", () => {});
        socket.resume();
        return new Promise((resolve) => socket.once("close", resolve));
      });
      const connection = await at.open();
      for (let i = 0; i < 20; i++) expect((await status(connection, {})).code === 0, "others are not served");
      const began = Date.now();
      const inTime = await Promise.race([Promise.all(closed).then(() => true), sleep(60_000, false, { ref: false })]);
      silent.destroy();
      half.destroy();
      expect(inTime, "still open after 60 s");
      return `closed after ${Math.round((Date.now() - began) / 1000)} s`;
    },
  },
];
