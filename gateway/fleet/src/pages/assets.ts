// The files of the console, read once at the start. (infra/console.ts makes them.)
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { extname, join, relative, sep } from "node:path";
import { gzipSync } from "node:zlib";
import { ConfigError } from "@claviger/proto/runtime/config.ts";
import { codeOf, fileProblem } from "@claviger/proto/runtime/file-problem.ts";

export type Asset = {
  readonly type: string;
  readonly bytes: Buffer;
  /** The same, compressed; absent where that is no shorter. */
  readonly gzip?: Buffer;
  readonly etag: string;
  /** Its name changes with its content. */
  readonly isImmutable: boolean;
};

/** By the path of their URL. */
export type Assets = ReadonlyMap<string, Asset>;

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".woff2": "font/woff2",
  ".txt": "text/plain; charset=utf-8",
  ".json": "application/json",
  ".webmanifest": "application/manifest+json",
};

/** More than that is no console. */
const most = { files: 200, bytes: 16 * 2 ** 20 } as const;

function assetOf(path: string, bytes: Buffer): Asset | undefined {
  const type = types[extname(path)];
  if (type === undefined) return undefined;
  const gzip = gzipSync(bytes, { level: 9 });
  return {
    type,
    bytes,
    ...(gzip.length < bytes.length * 0.9 && { gzip }),
    etag: `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`,
    isImmutable: /^\/assets\/[^/]+-[A-Z0-9]{8}\.[a-z0-9]+$/.test(path),
  };
}

/**
 * @returns undefined where there is no such directory
 * @throws ConfigError where it is not one of the console
 */
export function readAssets(directory: string): Assets | undefined {
  let names: readonly string[];
  try {
    names = readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(directory, join(entry.parentPath, entry.name)));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new ConfigError("configuration", [`console.directory: ${directory} cannot be read (${fileProblem(error)})`]);
  }
  const assets = new Map<string, Asset>();
  let bytes = 0;
  for (const name of names.slice(0, most.files)) {
    const path = `/${name.split(sep).join("/")}`;
    const asset = assetOf(path, readFileSync(join(directory, name)));
    if (asset === undefined) continue;
    assets.set(path, asset);
    bytes += asset.bytes.length;
  }
  if (!assets.has("/index.html") || names.length > most.files || bytes > most.bytes)
    throw new ConfigError("configuration", [
      `console.directory: ${directory} is no console as 'npm run build' makes it: at most ${most.files} files, index.html among them`,
    ]);
  return assets;
}
