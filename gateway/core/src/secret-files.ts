// The files of a configuration that hold secrets, and the settings that name them.
import type { SecretFile } from "@claviger/proto/runtime/check-files.ts";
import type { BackendConfig } from "./backend/config.ts";
import type { GatewayConfig } from "./config.ts";

/** The name of a setting ends so where its file holds a secret. */
const secretSettings = /(?:^|\.)(?:key|passwordFile|sentinelPasswordFile|secretIdFile|jwtFile)$/;

function filesBelow(at: string, settings: object): readonly SecretFile[] {
  return Object.entries(settings).flatMap(([name, value]: readonly [string, unknown]): readonly SecretFile[] => {
    const setting = `${at}.${name}`;
    if (typeof value === "object" && value !== null) return filesBelow(setting, value);
    return typeof value === "string" && secretSettings.test(setting) ? [{ setting, file: value }] : [];
  });
}

function ofBackend(name: string, config: BackendConfig): readonly SecretFile[] {
  const at = `backends.${name}`;
  if (config.kind === "embedded") return [{ setting: `${at}.file`, file: config.file }];
  const { auth, tls = {} } = config;
  const token = "file" in auth ? [{ setting: `${at}.auth.file`, file: auth.file }] : [];
  return [...token, ...filesBelow(`${at}.auth`, auth), ...filesBelow(`${at}.tls`, tls)];
}

/** What --check looks at: may others read it? */
export function secretFilesOf({
  tls,
  backends,
  redis,
  audit,
}: Pick<GatewayConfig, "tls" | "backends" | "redis" | "audit">): readonly SecretFile[] {
  return [
    ...filesBelow("tls", tls),
    ...Object.entries(backends).flatMap(([name, config]) => ofBackend(name, config)),
    ...(redis === undefined ? [] : filesBelow("redis", redis)),
    ...audit.sinks.flatMap((sink, i) => filesBelow(`audit.sinks.${i}`, sink)),
  ];
}
