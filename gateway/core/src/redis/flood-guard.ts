// Ends a connection to Redis on which far more arrives than a gateway ever asks for: whoever can write
// there can also put a value of half a gibibyte under a name that is read. (docs/architecture.md #keys.)
import type { Duplex } from "node:stream";

/** Bytes of a second, for a gateway. Ten thousand keys whose reports are all read at once are a tenth of it. */
export const floodBytes = 16 * 2 ** 20;

/** A client of one server; its stream is another one after each connection. */
type Guarded = { readonly stream: Duplex; on(event: "connect", run: () => void): unknown };

/**
 * @param bytesPerSecond more than this ends a connection
 * @param onFlood called when it does
 */
export function guardAgainstFloods(client: Guarded, bytesPerSecond: number, onFlood: () => void): void {
  client.on("connect", () => {
    const { stream } = client;
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
