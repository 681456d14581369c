// A call of FleetService as anybody can make one: JSON over TLS, with whatever the caller has.
import { type Agent, request } from "node:https";

export type Reply = {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly json: Readonly<Record<string, unknown>>;
  /** Did it come over a connection that an earlier call had made? */
  readonly isReused: boolean;
};
/** A certificate, a bearer token, or both. */
export type Credentials =
  | { readonly cert: string; readonly key: string; readonly token?: string }
  | { readonly token: string }
  | undefined;
/**
 * @param message sent as JSON; bytes are sent as they are
 * @param agent keeps connections; without one each call makes its own
 * @param given headers to add or replace
 */
export type Call = (
  method: string,
  message: object,
  as: Credentials,
  agent?: Agent,
  given?: Readonly<Record<string, string>>,
) => Promise<Reply>;

/** @param ca PEM */
export function createCall(port: number, ca: string): Call {
  return (method, message, as, agent, given) =>
    new Promise((resolve, reject) => {
      const { token, ...certificate } = as ?? {};
      const outgoing = request(
        {
          host: "127.0.0.1",
          port,
          path: `/claviger.fleet.v1.FleetService/${method}`,
          method: "POST",
          agent: agent ?? false,
          ca,
          ...certificate,
          headers: {
            "content-type": "application/json",
            ...(token !== undefined && { authorization: `Bearer ${token}` }),
            ...given,
          },
        },
        (reply) => {
          const chunks: Buffer[] = [];
          reply.on("data", (chunk: Buffer) => chunks.push(chunk));
          reply.on("end", () => {
            const json = JSON.parse(Buffer.concat(chunks).toString()) as Readonly<Record<string, unknown>>;
            const status = reply.statusCode ?? 0;
            resolve({
              status,
              code: status === 200 ? "ok" : String(json["code"]),
              message: typeof json["message"] === "string" ? json["message"] : "",
              json,
              isReused: outgoing.reusedSocket,
            });
          });
          reply.on("error", reject);
        },
      );
      outgoing.on("error", reject);
      outgoing.end(Buffer.isBuffer(message) ? message : JSON.stringify(message));
    });
}
