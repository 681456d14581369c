// The methods of the fleet service that a node calls: JSON over Connect. (docs/architecture.md #enrollment.)
import { z } from "@claviger/proto/runtime/config.ts";

const callMs = 15_000;
const replyBytes = 262_144;

/** What the service, or the way to it, has against a call. `message` says what to do. */
export class FleetError extends Error {
  override readonly name = "FleetError";
}

export type FleetTls = {
  /** PEM; undefined: any certificate will do, and nothing that is said is believed. */
  readonly ca: string | undefined;
  /** PEM; absent before there is one. */
  readonly cert?: string;
  readonly key?: string;
};

const refusal = z.object({ code: z.string(), message: z.optional(z.string()) });

const replies = {
  GetTrustBundle: z.object({ ca: z.string() }),
  EnrollNode: z.object({
    certificate: z.string(),
    ca: z.string(),
    gateways: z.array(z.string()),
    cluster: z.string(),
    node: z.string(),
  }),
  RenewNode: z.object({ certificate: z.string(), ca: z.string() }),
} as const;

async function post(url: URL, body: string, { ca, cert, key }: FleetTls): Promise<{ status: number; text: string }> {
  // Not at the start of a shim, which has no other use for it.
  const { request } = await import("node:https");
  return await new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      {
        method: "POST",
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
        agent: false,
        minVersion: "TLSv1.3",
        signal: AbortSignal.timeout(callMs),
        ...(ca === undefined ? { rejectUnauthorized: false } : { ca, allowPartialTrustChain: true }),
        ...(cert !== undefined && { cert }),
        ...(key !== undefined && { key }),
      },
      (reply) => {
        const chunks: Buffer[] = [];
        let length = 0;
        reply.on("data", (chunk: Buffer) => {
          length += chunk.length;
          if (length > replyBytes) outgoing.destroy(new Error("the reply is too long"));
          else chunks.push(chunk);
        });
        reply.on("end", () => resolve({ status: reply.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
        reply.on("error", reject);
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Calls a method.
 * @param url where the service is, https://HOST:PORT
 * @throws FleetError
 */
export async function callFleet<M extends keyof typeof replies>(
  url: string,
  method: M,
  message: Readonly<Record<string, unknown>>,
  tls: FleetTls,
): Promise<z.core.output<(typeof replies)[M]>> {
  const target = new URL(`/claviger.fleet.v1.FleetService/${method}`, url);
  let reply: { readonly status: number; readonly text: string };
  try {
    reply = await post(target, JSON.stringify(message), tls);
  } catch (error) {
    const { code, message: why, name } = error as NodeJS.ErrnoException;
    throw new FleetError(
      `the fleet service ${target.origin} cannot be reached (${name === "TimeoutError" ? "no answer in 15 s" : (code ?? why)})`,
      { cause: error },
    );
  }
  const json = parsed(reply.text);
  if (reply.status !== 200) {
    const said = z.safeParse(refusal, json);
    throw new FleetError(
      said.success
        ? `the fleet service refuses (${said.data.code}): ${said.data.message ?? ""}`
        : `${target.origin} answers with status ${reply.status}; is it a fleet service?`,
    );
  }
  const result = z.safeParse(replies[method], json);
  if (!result.success)
    throw new FleetError(`${target.origin} gives an answer of another form; is it a fleet service of this release?`);
  return result.data as z.core.output<(typeof replies)[M]>;
}
