// The `vault` backend: Transit of Vault or OpenBao. Data path by bytes, control plane by
// node-vault, one token for both. (docs/architecture.md #keys and #vault.)
import { X509Certificate } from "node:crypto";
import { z } from "@claviger/proto/runtime/config.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { BackendName } from "@claviger/proto/wire/names.ts";
import { type Secret, zeroize } from "@claviger/proto/runtime/secret.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { VaultConfig } from "../config.ts";
import type { DocumentRef, Documents, KeyRef, OpenBackend, Pki } from "../port.ts";
import { problemOf } from "./key-problem.ts";
import { createVaultClient, DocumentDeleted, MountMissing, type VaultClient } from "./client.ts";
import { keepToken } from "./token.ts";
import { buildDecrypt, buildEncrypt, readDecrypt, readEncrypt } from "./transit.ts";
import { createVaultTransport, type VaultReply, type VaultTransport } from "./transport.ts";

const keyReply = z.object({
  data: z.object({
    keys: z.record(
      z.string().check(z.regex(/^\d{1,7}$/)),
      z.union([z.number(), z.object({ creation_time: z.string() })]),
    ),
    latest_version: z.number(),
    min_encryption_version: z.number(),
    min_decryption_version: z.number(),
    type: z.optional(z.string()),
    soft_deleted: z.optional(z.boolean()),
    derived: z.optional(z.boolean()),
  }),
});
const hmacReply = z.object({
  data: z.object({ hmac: z.string().check(z.regex(/^vault:v\d{1,7}:[A-Za-z0-9+/]+=*$/)) }),
});

const documentReply = z.object({ data: z.object({ data: z.unknown(), metadata: z.object({ version: z.number() }) }) });
const listReply = z.object({ data: z.object({ keys: z.array(z.string()) }) });

const certificateReply = z.object({
  data: z.object({
    certificate: z.string(),
    issuing_ca: z.optional(z.string()),
    ca_chain: z.optional(z.array(z.string())),
  }),
});

function accepted<S extends z.core.$ZodType>(schema: S, reply: unknown, what: string): z.core.output<S> {
  const result = z.safeParse(schema, reply);
  if (!result.success)
    throw new KmsError("backend_protocol_error", { cause: new Error(`a ${what} reply of another form`) });
  return result.data;
}

function isSelfSigned(pem: string): boolean {
  try {
    const certificate = new X509Certificate(pem);
    return certificate.checkIssued(certificate);
  } catch {
    throw new KmsError("backend_protocol_error", { cause: new Error("a certificate that does not parse") });
  }
}

function createdAt(entry: number | { readonly creation_time: string }): number {
  return typeof entry === "number" ? entry : Math.floor(Date.parse(entry.creation_time) / 1000);
}

/**
 * @param token instead of the configured login
 * @param isNew whether it comes from a login just now, and need not be looked up
 * @throws the system's error when a TLS file cannot be read
 */
export function openVaultBackend({
  name,
  config,
  log,
  token,
  isNew = false,
}: {
  readonly name: BackendName;
  readonly config: VaultConfig;
  readonly log: Log;
  readonly token?: Secret;
  readonly isNew?: boolean;
}): OpenBackend {
  const ownLog = log.child({ backend: name });
  const transport = createVaultTransport(config, ownLog);
  // A certificate is shown when a connection is made: one that was replaced must not be hidden by a
  // connection that is kept alive.
  const loginTransport: VaultTransport =
    token === undefined && config.auth.kind === "cert"
      ? { ...transport, send: (request) => transport.send({ ...request, isFresh: true }) }
      : transport;
  const keeper = keepToken({
    auth: token === undefined ? config.auth : { kind: "given", token, isNew },
    clientOf: (token) => createVaultClient(loginTransport, config.namespace, token),
    log: ownLog,
  });
  const namespaceOf = (key: Pick<KeyRef, "namespace">): string | undefined => key.namespace ?? config.namespace;

  // A token that was revoked under us is replaced once; what the new one may not do is refused.
  const withToken = async <T>(signal: AbortSignal, run: (token: Secret) => Promise<T>): Promise<T> => {
    const token = await keeper.current(signal);
    try {
      return await run(token);
    } catch (error) {
      if (!(error instanceof KmsError) || error.reason !== "backend_denied") throw error;
      const next = await keeper.replace(token, signal);
      return await run(next);
    }
  };

  const control = <T>(
    key: Pick<KeyRef, "namespace">,
    signal: AbortSignal,
    run: (client: VaultClient) => Promise<T>,
  ): Promise<T> => withToken(signal, (token) => run(createVaultClient(transport, namespaceOf(key), token)));

  const send = async <T>(
    key: KeyRef,
    operation: "encrypt" | "decrypt",
    body: Buffer,
    signal: AbortSignal,
    read: (reply: VaultReply) => T,
  ): Promise<T> => {
    const namespace = namespaceOf(key);
    const path = `/v1/${key.mount}/${operation}/${key.key}`;
    try {
      return await withToken(signal, async (token) => {
        const headers = (text: string) => ({
          "content-type": "application/json",
          "x-vault-token": text,
          "x-vault-request": "true",
          ...(namespace !== undefined && { "x-vault-namespace": namespace }),
        });
        return read(
          await token.use((text) => transport.send({ method: "POST", path, headers: headers(text), body, signal })),
        );
      });
    } finally {
      zeroize(body);
    }
  };

  const readData = (at: DocumentRef, signal: AbortSignal): Promise<unknown> =>
    control(at, signal, (client) => client.read(`${at.mount}/data/${at.path}`, signal));
  /** False when Vault has another version. */
  const writeOver = async (
    at: DocumentRef,
    data: Readonly<Record<string, unknown>>,
    version: number,
    signal: AbortSignal,
  ): Promise<boolean> => {
    const body = { data, options: { cas: version } };
    try {
      await control(at, signal, (client) =>
        client.write(`${at.mount}/data/${at.path}`, body, signal, { isOnce: true }),
      );
      return true;
    } catch (error) {
      // A 400 with nothing wrong in our body: the version is not the one that is there.
      if (error instanceof KmsError && error.reason === "request_malformed") return false;
      throw error;
    }
  };
  /** The version that a document had when it was deleted; undefined for one that was not. */
  const deletedVersion = async (at: DocumentRef, signal: AbortSignal): Promise<number | undefined> => {
    try {
      await readData(at, signal);
      return undefined;
    } catch (error) {
      if (error instanceof KmsError && error.cause instanceof DocumentDeleted) return error.cause.version;
      throw error;
    }
  };
  const documents: Documents = {
    async readDocument(at, signal) {
      try {
        const reply = await readData(at, signal);
        const { data, metadata } = accepted(documentReply, reply, "document").data;
        return { data, version: metadata.version };
      } catch (error) {
        if (error instanceof KmsError && (error.reason === "key_missing" || error.cause instanceof MountMissing))
          return undefined;
        throw error;
      }
    },
    async listDocuments(below, signal) {
      try {
        const path = `${below.mount}/metadata/${below.path}/`;
        const reply = await control(below, signal, (client) => client.list(path, signal));
        return accepted(listReply, reply, "list").data.keys.filter((name) => !name.endsWith("/"));
      } catch (error) {
        if (error instanceof KmsError && (error.reason === "key_missing" || error.cause instanceof MountMissing))
          return [];
        throw error;
      }
    },
    async removeDocument(at, signal) {
      await control(at, signal, (client) => client.remove(`${at.mount}/metadata/${at.path}`, signal));
    },
    async writeDocument(at, data, version, signal) {
      if (await writeOver(at, data, version, signal)) return true;
      // To whoever reads there is none, but Vault goes on counting.
      const deleted = version === 0 ? await deletedVersion(at, signal) : undefined;
      return deleted !== undefined && (await writeOver(at, data, deleted, signal));
    },
  };

  const pki: Pki = {
    async signCertificate(at, { request, commonName, uri, seconds }, signal) {
      const body = { csr: request, common_name: commonName, uri_sans: uri, ttl: `${seconds}s`, format: "pem" };
      const reply = await control(at, signal, (client) =>
        client.write(`${at.mount}/sign/${at.role}`, body, signal, { isOnce: true }),
      );
      const {
        certificate,
        issuing_ca: issuer,
        ca_chain: chain,
      } = accepted(certificateReply, reply, "certificate").data;
      // A chain ends with the root, which the other side has: what is self-signed stays here.
      const above = (chain ?? (issuer === undefined ? [] : [issuer])).filter((pem) => !isSelfSigned(pem));
      return [certificate, ...above].map((pem) => `${pem.trim()}\n`).join("");
    },
  };

  return {
    name,
    documents,
    pki,
    addresses: () => transport.addresses(),
    login: () => keeper.end(),
    wrap: (key, items, signal) =>
      send(key, "encrypt", buildEncrypt(items), signal, (reply) => readEncrypt(reply, items)),
    unwrap: (key, items, signal) =>
      send(key, "decrypt", buildDecrypt(items), signal, (reply) => readDecrypt(reply, items.length)),
    async describe(key, signal, options) {
      const reply = await control(key, signal, (client) =>
        client.read(`${key.mount}/keys/${key.key}`, signal, options),
      );
      const {
        keys,
        latest_version: latest,
        min_encryption_version: minEncryption,
        min_decryption_version: minDecryption,
        ...rest
      } = accepted(keyReply, reply, "key").data;
      const problem = problemOf(rest, key);
      if (problem !== undefined) throw new KmsError("key_unusable", { cause: new Error(problem) });
      return {
        versions: new Map(Object.entries(keys).map(([version, entry]) => [Number(version), createdAt(entry)])),
        latest,
        minEncryption,
        minDecryption,
      };
    },
    async promote(key, version, signal) {
      await control(key, signal, (client) =>
        client.write(`${key.mount}/keys/${key.key}/config`, { min_encryption_version: version }, signal),
      );
    },
    async setMinDecryption(key, version, signal) {
      await control(key, signal, (client) =>
        client.write(`${key.mount}/keys/${key.key}/config`, { min_decryption_version: version }, signal),
      );
    },
    async rotate(key, signal) {
      await control(key, signal, (client) =>
        client.write(`${key.mount}/keys/${key.key}/rotate`, {}, signal, { isOnce: true }),
      );
      return (await this.describe(key, signal)).latest;
    },
    async hmac(key, version, input, signal) {
      const data = { input: Buffer.from(input).toString("base64"), key_version: version };
      const reply = await control(key, signal, (client) =>
        client.write(`${key.mount}/hmac/${key.key}/sha2-256`, data, signal),
      );
      const { hmac } = accepted(hmacReply, reply, "hmac").data;
      if (!hmac.startsWith(`vault:v${version}:`))
        throw new KmsError("backend_protocol_error", { cause: new Error("an hmac of another version") });
      return Buffer.from(hmac.slice(hmac.lastIndexOf(":") + 1), "base64");
    },
    async health(signal) {
      const { status } = await transport.send({
        method: "GET",
        path: "/v1/sys/health?standbyok=true&perfstandbyok=true",
        headers: {},
        signal,
      });
      if (status !== 200) throw new KmsError("backend_unavailable", { cause: new Error(`status ${status}`) });
      await keeper.current(signal);
    },
    async close() {
      keeper.close();
      await transport.close();
    },
  };
}
