// What a browser and OpenBao's own pages do with an authorization request, without a window: log in with a password,
// and ask for a code with that login.
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { text } from "node:stream/consumers";

/**
 * @param page where the client sends the browser
 * @param ca the file that the issuer is verified by
 * @returns where the issuer sends it back to
 */
export async function authorize(page: string, user: string, password: string, ca: string): Promise<URL> {
  const url = new URL(page);
  const call = (method: string, path: string, { body, token }: { body?: object; token?: string }): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const outgoing = request(
        new URL(path, url.origin),
        {
          method,
          ca: readFileSync(ca),
          headers: { "content-type": "application/json", ...(token !== undefined && { "x-vault-token": token }) },
        },
        (reply) => void text(reply).then((said) => resolve(JSON.parse(said) as unknown), reject),
      );
      outgoing.on("error", reject);
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  const login = (await call("POST", `/v1/auth/userpass/login/${user}`, { body: { password } })) as {
    readonly auth: { readonly client_token: string };
  };
  const api = url.pathname.replace("/ui/vault/", "/v1/");
  const answer = (await call("GET", `${api}${url.search}`, { token: login.auth.client_token })) as Readonly<
    Record<string, string>
  >;
  const target = new URL(url.searchParams.get("redirect_uri") ?? "");
  for (const [name, value] of Object.entries(answer)) target.searchParams.set(name, value);
  return target;
}
