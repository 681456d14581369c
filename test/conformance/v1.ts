// Check 39: KMS v1.
import { randomBytes } from "node:crypto";
import { type Check, expect } from "./check.ts";
import { codes, v1Decrypt, v1Encrypt, v1Version } from "./rpc.ts";

export const v1Checks: readonly Check[] = [
  {
    id: 39,
    title: "KMS v1: Version, and a round trip of a ping and of a DEK; a wrong version is treated the same everywhere",
    needs: [],
    async run(_target, at) {
      const connection = await at.open();
      const { value: about } = await v1Version(connection, { version: "v1beta1" });
      expect(
        about?.version === "v1beta1" && about.runtimeName !== "" && /^\d+\.\d+\.\d+/.test(about.runtimeVersion),
        `Version said ${JSON.stringify(about ?? {})}`,
      );
      for (const plain of [Buffer.from("ping"), randomBytes(32)]) {
        const { code, value } = await v1Encrypt(connection, { version: "v1beta1", plain });
        expect(
          code === 0 && value !== undefined && value.cipher.length >= 1 && value.cipher.length <= 65_535,
          `Encrypt answered ${code}`,
        );
        const back = await v1Decrypt(connection, { version: "v1beta1", cipher: value.cipher });
        expect(back.value !== undefined && plain.equals(back.value.plain), "other bytes came back");
      }
      const wrong = [
        await v1Version(connection, { version: "v9" }),
        await v1Encrypt(connection, { version: "v9", plain: Buffer.from("ping") }),
        await v1Decrypt(connection, { version: "v9", cipher: Buffer.from("x") }),
      ].map(({ code }) => code);
      expect(
        wrong.every((code) => code === codes.invalidArgument) || wrong.slice(0, 2).every((code) => code === 0),
        `a wrong version: ${wrong.join(", ")}`,
      );
      return `${about.runtimeName} ${about.runtimeVersion}`;
    },
  },
];
