// Where an issuer's keys are, and the keys themselves. (OpenID Connect Discovery 1.0, sections 3 and 4.)
import { readFileSync } from "node:fs";
import { z } from "@claviger/proto/runtime/config.ts";
import { fileProblem } from "@claviger/proto/runtime/file-problem.ts";
import { createHttpsFetch, FetchError, isSafeUrl } from "@claviger/proto/runtime/https-fetch.ts";
import { readPemFiles } from "@claviger/proto/runtime/pem-files.ts";
import type { IssuerConfig, OidcConfig } from "./config.ts";

const limits = { timeoutMs: 5000, maxBytes: 262_144 } as const;

const metadata = z.object({ issuer: z.string(), jwks_uri: z.string().check(z.refine(isSafeUrl)) });

/** Looks at the files that the settings name. @throws ConfigError with what cannot be read or used */
export function checkIssuerFiles(oidc: OidcConfig): void {
  for (const [name, { ca }] of Object.entries(oidc))
    if (ca !== undefined) readPemFiles({ ca }, { side: "server", at: `oidc.${name}.` });
}

/** @throws FetchError */
function readCa(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new FetchError(`${file} cannot be read (${fileProblem(error)})`);
  }
}

/** @returns what reads the issuer's key set, as JSON. It throws FetchError */
export function createDiscovery({ issuer, ca }: Pick<IssuerConfig, "issuer" | "ca">): () => Promise<unknown> {
  const ask = createHttpsFetch({ ca: () => (ca === undefined ? undefined : readCa(ca)), ...limits });
  const read = async (url: string): Promise<unknown> => {
    const reply = await ask(url, { headers: { accept: "application/json" } });
    if (reply.status !== 200) throw new FetchError(`${url} answers with status ${reply.status}`);
    try {
      return await reply.json();
    } catch {
      throw new FetchError(`${url} answers with no JSON`);
    }
  };
  return async () => {
    const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
    const found = z.safeParse(metadata, await read(url));
    if (!found.success) throw new FetchError(`${url} names no issuer, or no https:// address of its keys`);
    if (found.data.issuer !== issuer) throw new FetchError(`${url} is of another issuer than ${issuer}`);
    return await read(found.data.jwks_uri);
  };
}
