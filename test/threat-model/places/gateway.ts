// A gateway: its disk, its memory, its log, its audit sink; and Vault's audit log.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import { type Evidence, searchFor } from "../evidence.ts";
import { filesOf, memoryOf, type Sought } from "../search.ts";
import { lineOf, type Spoils } from "../spoils.ts";
import { doesNotGet, gets, type Standing, succeeds } from "../standing.ts";
import type { World } from "../world.ts";
import { whileInTransit } from "./node-memory.ts";

/** The private key of the gateway's TLS certificate, and where it lies. */
export function gatewayKey({ gateway }: World): { readonly path: string; readonly line: Buffer } {
  const { tls } = parse(readFileSync(gateway.config, "utf8")) as { tls: { key: string } };
  return { path: tls.key, line: lineOf(readFileSync(tls.key)) };
}

export async function gatewayMemory(world: World, { credentials, transitKeys }: Spoils): Promise<Standing> {
  const { gateway, vault, control } = world;
  const token = credentials.filter(({ what }) => what.includes("token"));
  const found = await whileInTransit(world, (seed) =>
    searchFor(
      memoryOf("memory of the gateway", gateway.proc.pid),
      [{ what: "a seed on its way through", bytes: seed }, ...token, ...transitKeys],
      control,
    ),
  );
  const there = searchFor(memoryOf("memory of OpenBao", vault.proc().pid), transitKeys, control);
  const count = 1 + token.length;
  return {
    holds: "a gateway's memory",
    shown: [...gets(...found.slice(0, count)), ...doesNotGet(...found.slice(count)), ...succeeds(...there)],
  };
}

function fileSearch({ dir, control }: World, name: string, paths: readonly string[], sought: readonly Sought[]) {
  return searchFor(filesOf(name, paths, control, join(dir, "logs")), sought, control);
}

/** What passed through that no log may hold. */
function passedThrough({ ours, others }: World): readonly Sought[] {
  return [
    { what: "a seed", bytes: ours.seed },
    { what: "another seed", bytes: others.seed },
    { what: "an etcd value's envelope", bytes: ours.object.encryptedDekSource },
  ];
}

function standing(holds: string, gotten: readonly Evidence[], notGotten: readonly Evidence[]): Standing {
  return { holds, shown: [...gets(...gotten), ...doesNotGet(...notGotten)] };
}

export async function gatewayLog(world: World, { credentials, transitKeys }: Spoils): Promise<Standing> {
  const search = (sought: readonly Sought[]) =>
    fileSearch(world, "the gateway's log", [world.gateway.proc.log], sought);
  return standing(
    "a gateway's log",
    search([
      { what: "the path of the key", bytes: Buffer.from("transit/shared") },
      { what: "times", bytes: Buffer.from('"time":"') },
      { what: "a promotion's event", bytes: Buffer.from('"event":"key-promoted"') },
    ]),
    search([...credentials, ...passedThrough(world), ...transitKeys]),
  );
}

export async function auditSink(world: World, { credentials, transitKeys }: Spoils): Promise<Standing> {
  const search = (sought: readonly Sought[]) =>
    fileSearch(world, "the gateway's audit file", [world.gateway.audit], sought);
  const hash = createHash("sha256").update(world.ours.object.encryptedDekSource).digest();
  return standing(
    "the audit sink",
    search([
      { what: "the cluster's name", bytes: Buffer.from("cluster-1") },
      { what: "the node's name", bytes: Buffer.from("node-1") },
      { what: "the SHA-256 of an envelope", bytes: hash },
    ]),
    search([...passedThrough(world), ...credentials, ...transitKeys]),
  );
}

export async function vaultAudit(world: World, { credentials, transitKeys }: Spoils): Promise<Standing> {
  const search = (sought: readonly Sought[]) =>
    fileSearch(world, "OpenBao's audit log", [world.vault.auditLog], sought);
  return standing(
    "Vault's audit log",
    search([
      { what: "hashed values", bytes: Buffer.from('"plaintext":"hmac-sha256:') },
      { what: "the path of a request", bytes: Buffer.from("transit/decrypt/shared") },
    ]),
    search([...passedThrough(world).slice(0, 2), ...credentials, ...transitKeys]),
  );
}

/** The files of a gateway: its configuration, certificate, Vault login and registry. */
export function gatewayFiles(world: World): readonly string[] {
  const { dir, gateway, lab } = world;
  const login = ["role-id", "secret-id"].map((name) => join(dir, `${gateway.name}.${name}`));
  return [dirname(gateway.config), gatewayKey(world).path, lab.pki.ca, lab.registry, ...login];
}

export function searchGatewayDisk(world: World, { credentials, transitKeys }: Spoils) {
  const login = credentials.filter(({ what }) => what.includes("secret-id"));
  const files = (sought: readonly Sought[]) => fileSearch(world, "the gateway's files", gatewayFiles(world), sought);
  return {
    got: files([{ what: "its TLS key", bytes: gatewayKey(world).line }, ...login]),
    absent: files([...transitKeys, ...passedThrough(world).slice(0, 2)]),
  };
}
