// Back to the programs of 0.1.0 and forward again, one process after the other: gateways first, then shims.
import { join } from "node:path";
import { integrityKey, transitMount } from "../../lab/openbao.ts";
import { buildEarlier } from "../earlier.ts";
import { type Course, type Fault, restarted } from "../fault.ts";
import { reconfigured } from "../gateways.ts";
import { auditDir, type Programs, type Site } from "../site.ts";

/** What 0.1.0 knows: its integrity key stands below `redis`, and audit goes to a file. */
function earlierSettings({ redis, dir }: Site, gateway: string): Readonly<Record<string, unknown>> {
  return {
    integrity: undefined,
    audit: { sinks: [{ kind: "file", path: join(auditDir(dir, gateway), "audit.jsonl") }] },
    redis: {
      kind: "standalone",
      node: `${redis.host}:${redis.port}`,
      passwordFile: redis.passwordFile,
      integrity: { backend: "main", mount: transitMount, key: integrityKey, version: 1 },
    },
  };
}

async function rollGateways(site: Site, programs: Programs, { hold }: Course): Promise<void> {
  for (const part of site.gateways) {
    const settings = programs === site.programs ? {} : earlierSettings(site, part.name);
    const { enter } = site.network.place(part.name);
    await reconfigured(site, part, settings, [...enter, ...programs.gateway, "--config", part.gateway.config]);
    await hold(2000);
  }
}

async function rollShims(site: Site, programs: Programs, { hold }: Course): Promise<void> {
  for (const part of site.shims) {
    const { enter } = site.network.place(part.machine);
    await restarted(site, part, [...enter, ...programs.shim, "--config", part.config]);
    await hold(2000);
  }
}

let built: Programs | undefined;
function earlier({ dir }: Site): Programs {
  return (built ??= buildEarlier(join(dir, "earlier")));
}

const common = {
  left: "one gateway; on a node nothing, for as long as a start takes",
  needs: ["earlier"],
  // Some seconds in which this process does nothing else: the load would be late.
  prepare: (site: Site): void => void earlier(site),
} as const;

export const versionFaults: readonly Fault[] = [
  {
    ...common,
    id: "downgrade-shims",
    name: "shims back to 0.1.0, with gateways of today",
    run: async (site, course) => await rollShims(site, earlier(site), course),
  },
  {
    ...common,
    id: "downgrade-gateways",
    name: "gateways back to 0.1.0, with shims of 0.1.0",
    left: "one gateway",
    run: async (site, course) => await rollGateways(site, earlier(site), course),
  },
  {
    ...common,
    id: "upgrade-gateways",
    name: "gateways from 0.1.0 to today's, with shims of 0.1.0",
    left: "one gateway",
    run: async (site, course) => await rollGateways(site, site.programs, course),
  },
  {
    ...common,
    id: "upgrade-shims",
    name: "shims from 0.1.0 to today's, with gateways of today",
    run: async (site, course) => await rollShims(site, site.programs, course),
  },
];
