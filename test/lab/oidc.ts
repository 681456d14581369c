// OpenBao as an issuer of OpenID Connect, as docs/control-plane.md sets it up, and its users.
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { findBinary } from "../parts/find.ts";
import type { OpenBao } from "./openbao.ts";

export type BaoIssuer = {
  readonly issuer: string;
  readonly clientId: string;
  /** A program that opens a page as this user, for $BROWSER. */
  browser(user: string): string;
};

/** Users by name, each with the groups that they are in. */
export type Users = Readonly<Record<string, readonly string[]>>;

export const password = "correct horse";

const page = join(import.meta.dirname, "..", "..", "docs", "control-plane.md");

/** Runs the commands of the document. @returns what they print */
async function runDocumented(bao: Pick<OpenBao, "addr" | "tokenFile">, addr: string, dir: string): Promise<string> {
  const section = readFileSync(page, "utf8").split("### OpenBao or Vault as the issuer")[1] ?? "";
  const [, commands] = /```sh\n([^]*?)```/.exec(section) ?? [];
  if (commands?.includes("https://vault.example:8200") !== true)
    throw new Error(`${page} has no commands for an issuer`);
  const bin = join(dir, "bin");
  mkdirSync(bin, { recursive: true });
  symlinkSync(findBinary("bao"), join(bin, "bao"));
  const { stdout } = await promisify(execFile)(
    "bash",
    ["-euo", "pipefail", "-c", commands.replaceAll("https://vault.example:8200", addr)],
    {
      env: {
        PATH: `${bin}:/usr/bin:/bin`,
        HOME: dir,
        BAO_ADDR: bao.addr,
        BAO_TOKEN: readFileSync(bao.tokenFile, "utf8"),
      },
    },
  );
  return stdout;
}

/**
 * @param addr where browsers and clients reach it, with TLS
 * @param ca what that is verified by
 */
export async function setUpIssuer(
  bao: OpenBao,
  { addr, ca, dir, users }: { addr: string; ca: string; dir: string; users: Users },
): Promise<BaoIssuer> {
  await bao.call("POST", "sys/auth/userpass", { type: "userpass" });
  const { data } = await bao.call<{ data: Record<string, { accessor: string }> }>("GET", "sys/auth");
  const members = new Map<string, string[]>();
  for (const [user, groups] of Object.entries(users)) {
    await bao.call("POST", `auth/userpass/users/${user}`, { password });
    const entity = await bao.call<{ data: { id: string } }>("POST", "identity/entity", { name: user });
    await bao.call("POST", "identity/entity-alias", {
      name: user,
      canonical_id: entity.data.id,
      mount_accessor: data["userpass/"]?.accessor,
    });
    for (const group of groups) members.set(group, [...(members.get(group) ?? []), entity.data.id]);
  }
  for (const [name, entities] of members)
    await bao.call("POST", "identity/group", { name, member_entity_ids: entities });
  const clientId = /CLIENT-ID is (\S+)/.exec(await runDocumented(bao, addr, dir))?.[1];
  if (clientId === undefined) throw new Error("the commands of docs/control-plane.md print no client id");
  return {
    issuer: `${addr}/v1/identity/oidc/provider/claviger`,
    clientId,
    browser(user) {
      const file = join(dir, `browser-${user}`);
      const script = join(import.meta.dirname, "browser.ts");
      const args = [process.execPath, script, ca, user, password].map((word) => `'${word}'`).join(" ");
      writeFileSync(file, `#!/bin/sh\nexec ${args} "$1"\n`);
      chmodSync(file, 0o700);
      return file;
    },
  };
}
