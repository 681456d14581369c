// A gateway's disk: its Vault login, used.
import { request } from "undici";
import { decodeEnvelope } from "@claviger/gateway-core/src/key/envelope.ts";
import { associatedData } from "@claviger/gateway-core/src/key/key-id.ts";
import { backendName } from "@claviger/proto/wire/names.ts";
import type { Evidence } from "../evidence.ts";
import type { Spoils } from "../spoils.ts";
import { doesNotGet, gets, type Standing, tried } from "../standing.ts";
import type { World } from "../world.ts";
import { searchGatewayDisk } from "./gateway.ts";

type Answer = { readonly status: number; readonly json: Readonly<Record<string, Record<string, unknown>>> };
type Ask = (method: string, path: string, body?: unknown) => Promise<Answer>;

function asker({ vault }: World, token?: string): Ask {
  return async (method, path, body) => {
    const answer = await request(`${vault.addr}/v1/${path}`, {
      method: method as "GET",
      ...(token !== undefined && { headers: { "x-vault-token": token } }),
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    return { status: answer.statusCode, json: (text === "" ? {} : JSON.parse(text)) as Answer["json"] };
  };
}

async function asked(did: string, ask: () => Promise<Answer>): Promise<Evidence> {
  return await tried(did, async () => {
    const { status } = await ask();
    return { result: `OpenBao answers ${status}`, succeeded: status < 300 };
  });
}

async function login(world: World, { roleId, secretId }: Spoils): Promise<Answer> {
  return await asker(world)("POST", "auth/approle/login", { role_id: roleId, secret_id: secretId });
}

/** What a cluster's value in etcd needs: as the gateway asks it. */
function decryptBody({ ours }: World) {
  const { clusterUid, keyId, wraps } = decodeEnvelope(ours.object.encryptedDekSource);
  const [wrap] = wraps;
  if (wrap === undefined) throw new Error("an envelope without a wrap");
  return {
    ciphertext: `vault:v${wrap.version}:${Buffer.from(wrap.ciphertext).toString("base64")}`,
    associated_data: Buffer.from(associatedData(clusterUid, keyId, backendName.parse(wrap.backend))).toString("base64"),
  };
}

/** The fleet's own gateway cannot log in after this: it comes last. */
export async function gatewayDisk(world: World, spoils: Spoils): Promise<Standing> {
  const { got, absent } = searchGatewayDisk(world, spoils);
  const loggedIn = await login(world, spoils);
  const token = String(loggedIn.json["auth"]?.["client_token"]);
  const ask = asker(world, token);
  const may = [
    await asked("a login with its role-id and secret-id", async () => loggedIn),
    await asked("encrypt under the fleet's key with that token", () =>
      ask("POST", "transit/encrypt/shared", { plaintext: "AAAA" }),
    ),
    await asked("decrypt a seed of etcd", () => ask("POST", "transit/decrypt/shared", decryptBody(world))),
  ];
  const mayNot = [
    await asked("export the key (which is made exportable for this run)", () =>
      ask("GET", "transit/export/encryption-key/shared"),
    ),
    await asked("back the key up", () => ask("GET", "transit/backup/shared")),
    await asked("allow its deletion", () => ask("POST", "transit/keys/shared/config", { deletion_allowed: true })),
    await asked("delete it", () => ask("DELETE", "transit/keys/shared")),
    await asked("retire a version", () => ask("POST", "transit/keys/shared/config", { min_decryption_version: 2 })),
    await asked("trim versions", () => ask("POST", "transit/keys/shared/trim", { min_available_version: 1 })),
    await asked("change its own policy", () => ask("PUT", "sys/policies/acl/claviger-gateway", { policy: "" })),
  ];
  await world.vault.call("POST", "auth/approle/role/claviger-gateway/secret-id/destroy", {
    secret_id: spoils.secretId,
  });
  await world.vault.call("POST", "auth/token/revoke", { token });
  const revoked = [
    await asked("a login once the secret-id is destroyed", () => login(world, spoils)),
    await asked("decrypt once the token is revoked", () => ask("POST", "transit/decrypt/shared", decryptBody(world))),
  ];
  return {
    holds: "a gateway's disk",
    shown: [...gets(...got, ...may), ...doesNotGet(...mayNot, ...absent, ...revoked)],
  };
}
