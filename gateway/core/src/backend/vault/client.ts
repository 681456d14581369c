// Vault's control plane: logins, renewals, keys. The only file that imports node-vault, with its
// transport replaced by ours: as shipped it follows redirects, obeys proxy variables, has no
// time-outs and puts the token into its errors. Only read and write are used, with paths of our
// own.
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { Secret } from "@claviger/proto/runtime/secret.ts";
import nodeVault from "node-vault";
import type { VaultTransport } from "./transport.ts";

/** One namespace of one Vault. Replies are what JSON gave: validate them. */
export interface VaultClient {
  /**
   * @throws KmsError as the transport, and backend_denied (403), key_missing (404),
   * backend_protocol_error (anything else that is not 2xx)
   */
  read(path: string, signal: AbortSignal, options?: { readonly fromActive?: boolean }): Promise<unknown>;
  /** The names below a path. Same errors; key_missing where there is none. */
  list(path: string, signal: AbortSignal): Promise<unknown>;
  /** Same errors. */
  remove(path: string, signal: AbortSignal): Promise<unknown>;
  /** Same errors. `fromActive`, `isOnce`: see VaultRequest. */
  write(
    path: string,
    data: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
    options?: { readonly isOnce?: boolean },
  ): Promise<unknown>;
}

/** What node-vault hands to the function that it thinks is `request-promise`. */
type Outgoing = {
  readonly method: string;
  readonly uri: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly signal: AbortSignal;
  readonly isOnce?: boolean;
  readonly fromActive?: boolean;
};

function parse(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    // node-vault would hand a truncated reply on as a string.
    throw new KmsError("backend_protocol_error", { cause: new Error("a reply that is not JSON") });
  }
}

/**
 * What could be a token or base64 of something: Vault repeats no secrets in its errors, and nothing
 * that stands between does it here.
 */
const longRun = /[\w+/=.-]{24,}/g;

/** A text of Vault's without what could be a secret. */
export function withoutSecrets(text: string): string {
  return text.replaceAll(longRun, "…");
}

/** The active node knows no mount at this path. */
export class MountMissing extends Error {
  override readonly name = "MountMissing";
}

/** Of a document in KV version 2 the newest version was deleted; the document still counts its versions. */
export class DocumentDeleted extends Error {
  override readonly name = "DocumentDeleted";
  readonly version: number;
  constructor(version: number) {
    super("the newest version of the document was deleted");
    this.version = version;
  }
}

function deletedVersionOf(body: unknown): number | undefined {
  const { data } = (body ?? {}) as { readonly data?: { readonly metadata?: { readonly version?: unknown } } | null };
  const version = data?.metadata?.version;
  return typeof version === "number" ? version : undefined;
}

/**
 * The reason behind a status that the transport let pass; undefined for success.
 * @param path what was asked for, for the cause
 */
export function refusalOf(status: number, body: unknown, path?: string): KmsError | undefined {
  if (status >= 200 && status < 300) return undefined;
  const errors = (body as { errors?: unknown } | undefined)?.errors;
  const text = Array.isArray(errors)
    ? withoutSecrets(errors.filter((line) => typeof line === "string").join("; "))
        // Vault writes lists on several lines.
        .replaceAll(/\s+/g, " ")
        .trim()
        .slice(0, 300)
    : "";
  const at = path === undefined ? "" : ` at ${path.replace(/^\/v1\//, "")}`;
  const cause = new Error(`status ${status}${at}${text === "" ? "" : `: ${text}`}`);
  if (status === 403) return new KmsError("backend_denied", { cause });
  // Says nothing of a key: the mount is not ready, or the configuration names another one.
  if (status === 404 && text.includes("no handler for route"))
    return new KmsError("backend_unavailable", { cause: new MountMissing(cause.message) });
  const deleted = status === 404 ? deletedVersionOf(body) : undefined;
  if (deleted !== undefined) return new KmsError("key_missing", { cause: new DocumentDeleted(deleted) });
  if (status === 404 || text.includes("encryption key not found")) return new KmsError("key_missing", { cause });
  if (status === 400) return new KmsError("request_malformed", { cause });
  return new KmsError("backend_protocol_error", { cause });
}

/** @param token undefined for calls that need none, such as a login */
export function createVaultClient(
  transport: VaultTransport,
  namespace: string | undefined,
  token: Secret | undefined,
): VaultClient {
  const send = async ({ method, uri, headers, json, signal, isOnce, fromActive }: Outgoing) => {
    const { pathname, search } = new URL(uri);
    const path = pathname + search;
    const body = json !== undefined && typeof json === "object" ? Buffer.from(JSON.stringify(json)) : undefined;
    const reply = await transport.send({
      method,
      path,
      headers: { ...headers, "content-type": "application/json", "x-vault-request": "true" },
      signal,
      ...(body !== undefined && { body }),
      ...(isOnce === true && { isOnce }),
      ...(fromActive === true && { fromActive }),
    });
    body?.fill(0);
    const parsed = parse(reply.body);
    reply.body.fill(0);
    const refusal = refusalOf(reply.status, parsed, path);
    if (refusal !== undefined) throw refusal;
    return { statusCode: reply.status, body: parsed, request: { path } };
  };
  const client = (secret: string | undefined) => {
    const made = nodeVault({
      "request-promise": { defaults: () => send },
      debug: () => {},
      // Ours to choose: the transport knows the addresses. Nothing is to come from VAULT_ADDR,
      // VAULT_TOKEN or VAULT_NAMESPACE.
      endpoint: "http://vault.invalid",
      apiVersion: "v1",
      pathPrefix: "",
      noCustomHTTPVerbs: true,
    });
    made.token = secret ?? "";
    Object.assign(made, { namespace: namespace ?? "", pathPrefix: "" });
    return made;
  };
  const withClient = async (run: (made: ReturnType<typeof client>) => Promise<unknown>): Promise<unknown> =>
    await (token === undefined ? run(client(undefined)) : token.use((text) => run(client(text))));
  return {
    read: (path, signal, options) => withClient((made) => made.read(path, { signal, ...options })),
    list: (path, signal) => withClient((made) => made.list(path, { signal })),
    remove: (path, signal) => withClient((made) => made.delete(path, { signal })),
    write: (path, data, signal, options) => withClient((made) => made.write(path, data, { signal, ...options })),
  };
}
