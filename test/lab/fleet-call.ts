// One call of FleetService in JSON, as curl makes it.
import { readFileSync } from "node:fs";
import { issueOperator } from "@claviger/gateway-core/src/pki/authority.ts";
import { Agent, request } from "undici";
import type { Pki } from "./fleet.ts";

export type FleetReply = {
  /** `ok`, or a code of Connect. */
  readonly code: string;
  readonly message: string;
  readonly json: Readonly<Record<string, unknown>>;
};
export type FleetCall = (url: string, method: string, message: object) => Promise<FleetReply>;

/** Calls with a certificate of an operator's name. */
export async function callsOf(pki: Pki, operator: string): Promise<FleetCall> {
  const { cert, key } = await issueOperator({ ca: pki.authority, name: operator });
  const dispatcher = new Agent({ connect: { ca: readFileSync(pki.ca), cert, key: key.use(String) } });
  return async (url, method, message) => {
    const reply = await request(`${url}/claviger.fleet.v1.FleetService/${method}`, {
      method: "POST",
      dispatcher,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(message),
    });
    const json = (await reply.body.json()) as FleetReply["json"];
    if (reply.statusCode === 200) return { code: "ok", message: "", json };
    return { code: String(json["code"]), message: String(json["message"]), json };
  };
}
