// Ends a connection to Redis on which far more arrives than a gateway ever asks for: whoever can write
// there can also put a value of half a gibibyte under a name that is read. (docs/architecture.md #keys.)
import type { Redis } from "ioredis";

/** Bytes of a second. Ten thousand keys whose reports are all read at once are a tenth of it. */
const bytesPerSecond = 16 * 2 ** 20;

/** @param onFlood called when a connection is ended */
export function guardAgainstFloods(client: Redis, onFlood: () => void): void {
  client.on("connect", () => {
    const { stream } = client as { readonly stream: Redis["stream"] };
    let bytes = 0;
    let until = 0;
    stream.on("data", (chunk: Buffer) => {
      const now = performance.now();
      if (now > until) {
        bytes = 0;
        until = now + 1000;
      }
      bytes += chunk.length;
      if (bytes <= bytesPerSecond) return;
      onFlood();
      stream.destroy(Object.assign(new Error("more arrives than was asked for"), { code: "FLOOD" }));
    });
  });
}
