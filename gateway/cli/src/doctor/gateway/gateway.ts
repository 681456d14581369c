// `claviger doctor gateway`: what `claviger-gateway --check` tries, by the same functions, and beside it the clock,
// names, what the gateway's token may do that no gateway needs, and what a running gateway says itself.
import { type CheckRow, createCheck } from "@claviger/proto/runtime/check.ts";
import { type GatewayConfig, loadGatewayConfig } from "@claviger/gateway-core/src/config.ts";
import { redisNodes } from "@claviger/gateway-core/src/redis/client.ts";
import { checkGateway } from "@claviger/gateway-server/src/check/gateway.ts";
import type { Machine } from "../../commander.ts";
import { checkClocks } from "../clock.ts";
import { loadOrRows } from "../config.ts";
import { checkNames } from "../names.ts";
import { checkRunning, findRunning } from "../program.ts";

/** The addresses of all Vaults that a configuration names. */
export function vaultAddresses({ backends }: Pick<GatewayConfig, "backends">): readonly string[] {
  return Object.values(backends).flatMap((backend) => (backend.kind === "vault" ? backend.addresses : []));
}

/** The servers that a configuration names, as URLs. */
export function serversOf(config: Pick<GatewayConfig, "backends" | "redis">): readonly string[] {
  const redis = config.redis === undefined ? [] : redisNodes(config.redis);
  return [...vaultAddresses(config), ...redis.map(({ host }) => `redis://${host.includes(":") ? `[${host}]` : host}`)];
}

/** Everything, each with a time of its own. @param file gateway.yaml */
export async function examineGateway(file: string, machine: Machine): Promise<readonly CheckRow[]> {
  const warnings: string[] = [];
  const { config, rows: unread } = loadOrRows("gateway.config", () =>
    loadGatewayConfig(file, (line) => warnings.push(line)),
  );
  if (config === undefined) return unread;
  const program = await findRunning(config.admin, machine);
  const [around, running] = [createCheck(), createCheck()];
  // Limits of this process are none of the gateway's: the row of its connections would say nothing.
  const bounds = { memoryBytes: Number.POSITIVE_INFINITY, openFiles: undefined };
  const keepers = vaultAddresses(config).map((url) => ({ url, path: "/v1/sys/seal-status" }));
  const [rows] = await Promise.all([
    checkGateway(config, { file, warnings, own: program.own, bounds, withRights: true }),
    checkClocks(around, "gateway.clock", keepers),
    checkNames(around, "gateway.dns", serversOf(config)),
    checkRunning(running, "gateway.running", program, "claviger-gateway"),
  ]);
  return [...rows, ...around.rows(), ...running.rows()];
}
