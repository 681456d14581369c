// Every row of SECURITY.md's table, on one fleet that runs.
import { kmsClient } from "../lab/kms.ts";
import { etcdDump } from "./places/etcd.ts";
import { auditSink, gatewayLog, gatewayMemory, vaultAudit } from "./places/gateway.ts";
import { gatewayDisk } from "./places/gateway-disk.ts";
import { nodeDisk } from "./places/node-disk.ts";
import { nodeRoot, shimMemory, unixSocket } from "./places/node-memory.ts";
import { otherCertificate } from "./places/other-cluster.ts";
import { redisDump, redisWriter } from "./places/redis.ts";
import { caKey, registryWriter } from "./places/registry.ts";
import { type Spoils, takeSpoils, within } from "./spoils.ts";
import { readSecurity, type Said, type Standing } from "./standing.ts";
import type { World } from "./world.ts";

/** In the order in which they are tried: what is taken for good is taken last. */
const attackers: readonly ((world: World, spoils: Spoils) => Promise<Standing>)[] = [
  etcdDump,
  nodeRoot,
  unixSocket,
  otherCertificate,
  redisDump,
  shimMemory,
  gatewayMemory,
  nodeDisk,
  redisWriter,
  caKey,
  registryWriter,
  gatewayLog,
  auditSink,
  vaultAudit,
  gatewayDisk,
];

/** A row in SECURITY.md's words, with what shows it. */
export type Attacker = Said & Pick<Standing, "shown">;

async function isServed({ shim }: World): Promise<boolean> {
  const kms = kmsClient(shim.socket);
  try {
    return (await kms.status()).healthz === "ok";
  } catch {
    return false;
  } finally {
    kms.close();
  }
}

/**
 * All of them, in SECURITY.md's order.
 * @throws Error when a row of SECURITY.md is not shown, or one is shown that is not there
 */
export async function tryAttackers(world: World, say: (text: string) => void): Promise<readonly Attacker[]> {
  const rows = readSecurity();
  const spoils = await takeSpoils(world);
  const shown = new Map<string, Standing["shown"]>();
  for (const attacker of attackers) {
    if (!(await within(20_000, () => isServed(world)))) throw new Error("the fleet does not serve its own node");
    const standing = await attacker(world, spoils);
    say(`  ${standing.holds}`);
    shown.set(standing.holds, standing.shown);
  }
  const unknown = [...shown.keys()].filter((holds) => !rows.some((row) => row.holds === holds));
  if (unknown.length > 0) throw new Error(`SECURITY.md has no row: ${unknown.join(", ")}`);
  return rows.map((row) => {
    const found = shown.get(row.holds);
    if (found === undefined) throw new Error(`nothing shows SECURITY.md's row: ${row.holds}`);
    return { ...row, shown: found };
  });
}
