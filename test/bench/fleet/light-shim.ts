// The least that asks for Status as a shim does: a connection of its own and HTTP by hand. A tenth of the
// memory of the shim's own code, so that tens of thousands fit beside the gateways that are measured.
import { createSecureContext, connect as connectTls, type TLSSocket } from "node:tls";
import { contentTypes, headers, methods } from "@claviger/proto/wire/protocol.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { KmsMethod } from "../../../shim/src/kms.ts";
import type { Identity } from "./protocol.ts";
import type { SimulatedShim } from "./shim.ts";

const request = Buffer.from(
  [
    `POST ${methods.status} HTTP/1.1`,
    "host: gateway",
    `content-type: ${contentTypes.proto}`,
    `${headers.protocolVersion}: 1`,
    `${headers.timeout}: 3000`,
    `${headers.shim}: version=0.2.0;phase=0;good=60;config=0123456789abcdef`,
    "content-length: 0",
    "\r\n",
  ].join("\r\n"),
);

const unsupported: KmsMethod = () => Promise.reject(new TypeError("a light shim asks for Status alone"));

function unavailable(why: string): KmsError {
  return new KmsError("gateway_unavailable", { cause: new Error(why) });
}

/** The body of a complete answer; undefined while it is not. @throws KmsError when it is another one than 200 */
function bodyOf(answer: Buffer): Buffer | undefined {
  const end = answer.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = answer.toString("latin1", 0, end);
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
  if (answer.length < end + 4 + length) return undefined;
  if (!head.startsWith("HTTP/1.1 200 ")) throw unavailable(head.split("\r\n", 1)[0] ?? "");
  return answer.subarray(end + 4, end + 4 + length);
}

/**
 * Connects to the first of its gateways, at once and whenever the connection has ended.
 * @param onConnected called for each handshake that is done
 */
export function createLightShim(
  identity: Identity,
  tls: { readonly cert: string; readonly key: string; readonly ca: string },
  onConnected: () => void,
): SimulatedShim {
  const { hostname, port } = new URL(identity.gateways[0] ?? "");
  let socket: TLSSocket | undefined;
  let waiting: { resolve(body: Buffer): void; reject(error: Error): void } | undefined;
  let isGood = false;

  const open = (): TLSSocket => {
    const secureContext = createSecureContext({ ...tls, minVersion: "TLSv1.3" });
    const opened = connectTls({ host: hostname, port: Number(port), secureContext });
    let answer: Buffer = Buffer.alloc(0);
    opened.setNoDelay(true);
    opened.once("secureConnect", onConnected);
    opened.on("data", (chunk: Buffer) => {
      answer = answer.length === 0 ? chunk : Buffer.concat([answer, chunk]);
      try {
        const body = bodyOf(answer);
        if (body === undefined) return;
        answer = Buffer.alloc(0);
        waiting?.resolve(body);
      } catch (error) {
        waiting?.reject(error as Error);
        opened.destroy();
      }
    });
    opened.on("error", () => {});
    opened.once("close", () => {
      if (socket === opened) socket = undefined;
      waiting?.reject(unavailable("the connection has ended"));
    });
    return opened;
  };
  socket = open();

  /** One at a time, as a connection has one request at a time. */
  const status = async (signal: AbortSignal): Promise<Buffer> => {
    if (waiting !== undefined) throw new TypeError("a light shim is asked one Status at a time");
    socket ??= open();
    const asked = socket;
    const late = (): void => void asked.destroy();
    signal.addEventListener("abort", late, { once: true });
    try {
      const body = await new Promise<Buffer>((resolve, reject) => {
        waiting = { resolve, reject };
        asked.write(request);
      });
      isGood = true;
      return body;
    } catch (error) {
      isGood = false;
      throw signal.aborted ? new KmsError("deadline_exceeded", { cause: error }) : error;
    } finally {
      waiting = undefined;
      signal.removeEventListener("abort", late);
    }
  };
  return {
    identity,
    kms: {
      status: (_request, _deadline, signal) => status(signal),
      encrypt: unsupported,
      decrypt: unsupported,
      v1Version: unsupported,
      v1Encrypt: unsupported,
      v1Decrypt: unsupported,
    },
    isInGrace: () => !isGood,
    close() {
      socket?.destroy();
      return Promise.resolve();
    },
  };
}
