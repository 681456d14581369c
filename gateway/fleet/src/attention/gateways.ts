// What is wrong with gateways, and with the backends as they find them.
import type { GatewayReport } from "@claviger/gateway-core/src/redis/gateway-reports.ts";
import { type AttentionItem, checkGateway, item, onHostOf } from "./item.ts";

const loginMs = 24 * 3600_000;
const busyShare = 0.8;

function isDown({ addresses }: GatewayReport["backends"][number]): boolean {
  return addresses.length > 0 && addresses.every(({ isUp }) => !isUp);
}

/** What is wrong with one gateway that reports itself. */
export function gatewayItems({ name, backends, certificates, problems, eventLoop = 0 }: GatewayReport, now: number) {
  const command = `${onHostOf(name)}: ${checkGateway}`;
  const logins = backends.flatMap(({ name: backend, login }) =>
    login?.isLast === true && login.until - now < loginMs
      ? [
          item("gateway_login", {
            target: name,
            cause: `its Vault token for ${backend} cannot be renewed and ends at ${new Date(login.until).toISOString()}; put another one in its file`,
            command,
          }),
        ]
      : [],
  );
  const bad = certificates.flatMap(({ role, problem }) =>
    problem === undefined ? [] : [item("gateway_certificate", { target: name, cause: `${role}: ${problem}`, command })],
  );
  const down = new Set(backends.filter(isDown).map((backend) => `backend/${backend.name}`));
  const failing = Object.entries(problems)
    // One that stops says so, and a backend has an item of its own.
    .filter(([check]) => check !== "process" && !down.has(check))
    .map(([check, text]) => item("gateway_problem", { target: name, cause: `${check}: ${text}`, command }));
  const busy =
    eventLoop < busyShare
      ? []
      : [
          item("gateway_busy", {
            target: name,
            cause: `its event loop works ${Math.round(eventLoop * 100)} % of the time: a gateway is one core`,
            command: "kubectl -n claviger-gateway scale deployment/claviger-gateway --replicas=N, with one more",
          }),
        ];
  return [...logins, ...bad, ...failing, ...busy];
}

/** Backends that no address of is up, one item for all gateways that say so. */
export function backendItems(gateways: readonly GatewayReport[]): readonly AttentionItem[] {
  const down = new Map<string, string[]>();
  for (const { name, backends } of gateways)
    for (const backend of backends)
      if (isDown(backend)) down.set(backend.name, [...(down.get(backend.name) ?? []), name]);
  return [...down].map(([backend, names]) =>
    item("backend_down", {
      target: backend,
      cause: `no address of it serves, say ${names.length} of ${gateways.length} gateways`,
      command: `${onHostOf(names[0])}: ${checkGateway}`,
    }),
  );
}
