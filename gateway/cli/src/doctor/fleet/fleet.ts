// `claviger doctor fleet`: what `claviger-fleet --check` tries, by the same functions, and beside it the clock, names,
// the issuers of operators' tokens, and what a running service says itself.
import { dirname, join } from "node:path";
import { type Check, CheckError, type CheckRow, createCheck } from "@claviger/proto/runtime/check.ts";
import { FetchError } from "@claviger/proto/runtime/https-fetch.ts";
import { checkFleet } from "@claviger/gateway-fleet/src/check.ts";
import { type FleetConfig, loadFleetConfig } from "@claviger/gateway-fleet/src/config.ts";
import { createDiscovery } from "@claviger/gateway-fleet/src/oidc/discovery.ts";
import type { Machine } from "../../commander.ts";
import { checkClocks } from "../clock.ts";
import { loadOrRows } from "../config.ts";
import { serversOf, vaultAddresses } from "../gateway/gateway.ts";
import { checkNames } from "../names.ts";
import { checkRunning, findRunning } from "../program.ts";

/** Where a package has the pages where the service's own place is not known. */
const packaged = "/usr/lib/claviger/console";

async function checkIssuers(check: Check, oidc: FleetConfig["oidc"]): Promise<void> {
  await Promise.all(
    Object.entries(oidc).map(([name, config]) =>
      check.step(`fleet.oidc ${name}`, async () => {
        try {
          await createDiscovery(config)();
        } catch (error) {
          if (!(error instanceof FetchError)) throw error;
          throw new CheckError(error.message, `correct oidc.${name}.issuer and ca, or the way from here to it`);
        }
        return { found: `${config.issuer} and its keys can be read`, value: true };
      }),
    ),
  );
}

/** Everything, each with a time of its own. @param file fleet.yaml */
export async function examineFleet(file: string, machine: Machine): Promise<readonly CheckRow[]> {
  const { config, rows: unread } = loadOrRows("fleet.config", () => loadFleetConfig(file));
  if (config === undefined) return unread;
  const program = await findRunning(config.admin, machine);
  const { own } = program;
  const pages = own.script === undefined ? packaged : join(dirname(own.script), "console");
  const [around, issuers, running] = [createCheck(), createCheck(), createCheck()];
  const keepers = vaultAddresses(config).map((url) => ({ url, path: "/v1/sys/seal-status" }));
  const [rows] = await Promise.all([
    checkFleet(config, { file, own, pages }),
    checkClocks(around, "fleet.clock", keepers),
    checkNames(around, "fleet.dns", [...serversOf(config), ...Object.values(config.oidc).map(({ issuer }) => issuer)]),
    checkIssuers(issuers, config.oidc),
    checkRunning(running, "fleet.running", program, "claviger-fleet"),
  ]);
  return [...rows, ...[around, issuers, running].flatMap((check) => check.rows())];
}
