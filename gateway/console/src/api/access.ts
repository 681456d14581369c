// How the caller comes to these pages: by `claviger console`, or with a browser of their own, which may log in and out.
import { toApiError } from "./failure.ts";

/** `login` and `logout` are paths, absent where there is none. */
export type Access = { readonly by: string; readonly name: string; readonly login?: string; readonly logout?: string };

export const accessPath = "/console/access";

function pathIn(fields: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const path = fields[name];
  // Of this origin: two slashes would be another one.
  return typeof path === "string" && /^\/(?!\/)/.test(path) ? path : undefined;
}

export function parseAccess(json: unknown): Access {
  const fields = typeof json === "object" && json !== null ? (json as Readonly<Record<string, unknown>>) : {};
  const [by, name] = [fields["by"], fields["name"]];
  const [login, logout] = [pathIn(fields, "login"), pathIn(fields, "logout")];
  return {
    by: typeof by === "string" ? by : "",
    name: typeof name === "string" ? name : "",
    ...(login !== undefined && { login }),
    ...(logout !== undefined && { logout }),
  };
}

/** @throws ApiError */
export async function readAccess(fetch: (url: string, init: RequestInit) => Promise<Response>): Promise<Access> {
  try {
    const reply = await fetch(accessPath, { credentials: "same-origin", redirect: "error", cache: "no-store" });
    return parseAccess(await reply.json());
  } catch (error) {
    throw toApiError(error);
  }
}
