// Makes key versions without end, until it is killed: `node rotator.ts FILE`. For each a line of JSON
// once it is there: its number, and 32 bytes encrypted under it.
import { randomBytes } from "node:crypto";
import { openBackend } from "@claviger/gateway-core/src/backend/open.ts";
import { ref, silent } from "../../unit/gateway/fakes.ts";

const { signal } = new AbortController();
const backend = await openBackend({
  name: "main",
  config: { kind: "embedded", file: process.argv[2] ?? "" },
  log: silent,
});
for (;;) {
  const version = await backend.rotate(ref, signal);
  const plaintext = randomBytes(32);
  const [wrapped] = await backend.wrap(ref, [{ plaintext, associatedData: Buffer.from("a"), version }], signal);
  if (wrapped?.ok !== true) throw new Error(`version ${version} does not encrypt`);
  const ciphertext = Buffer.from(wrapped.value.ciphertext).toString("base64");
  process.stdout.write(`${JSON.stringify({ version, ciphertext, plaintext: plaintext.toString("base64") })}\n`);
}
