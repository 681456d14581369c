// The parts of a site with their state, as the picture of the overview has them: what is not known of a part is
// unknown, whatever else is good.
import type { FleetStatus, Gateway } from "../api/json.ts";
import { formatCount, plural, totalOf } from "./count.ts";
import { hrefs } from "./route.ts";
import { nodeCondition, type Status, worst } from "./tone.ts";

export type PartId = "nodes" | "gateways" | "backends" | "redis" | "registry" | "audit" | "fleet";
export type Part = {
  readonly id: PartId;
  readonly title: string;
  readonly status: Status;
  readonly lines: readonly string[];
  readonly href: string;
};

const unknown: Status = { tone: "unknown", word: "unknown" };
const good: Status = { tone: "good", word: "ok" };

/** A gateway says how it is every second; one that was silent for so long is not known to be well. */
const silentSeconds = 10;

function isLate({ ageSeconds }: Gateway): boolean {
  return Number(ageSeconds ?? 0) >= silentSeconds;
}

/** How one gateway is by its own last words. */
export function gatewayStatus(gateway: Gateway): Status {
  if (isLate(gateway)) return { tone: "critical", word: "silent" };
  const problems = Object.keys(gateway.problems ?? {}).filter((check) => check !== "process");
  const down = (gateway.backends ?? []).filter(isDown);
  if (down.length > 0) return { tone: "critical", word: "backend down" };
  if (problems.length > 0) return { tone: "warning", word: plural(problems.length, "problem") };
  if ((gateway.certificates ?? []).some(({ problem = "" }) => problem !== ""))
    return { tone: "warning", word: "certificate" };
  return "process" in (gateway.problems ?? {}) ? { tone: "note", word: "stops" } : good;
}

type Backend = NonNullable<Gateway["backends"]>[number];

function isDown({ addressesUp = [], addressesDown = [] }: Backend): boolean {
  return addressesUp.length === 0 && addressesDown.length > 0;
}

/** An address of a backend, with the gateways that find it up and those that find it down. */
export type Address = {
  readonly backend: string;
  readonly address: string;
  readonly up: readonly string[];
  readonly down: readonly string[];
};

export function addressesOf(gateways: readonly Gateway[]): readonly Address[] {
  const found = new Map<string, { backend: string; address: string; up: string[]; down: string[] }>();
  for (const gateway of gateways) {
    if (isLate(gateway)) continue;
    for (const { name = "", addressesUp = [], addressesDown = [] } of gateway.backends ?? [])
      for (const [all, side] of [[addressesUp, "up"] as const, [addressesDown, "down"] as const])
        for (const address of all) {
          const key = `${name} ${address}`;
          const one = found.get(key) ?? { backend: name, address, up: [], down: [] };
          one[side].push(gateway.name ?? "");
          found.set(key, one);
        }
  }
  return [...found.values()].toSorted((a, b) => (`${a.backend} ${a.address}` < `${b.backend} ${b.address}` ? -1 : 1));
}

export function addressStatus({ up, down }: Address): Status {
  if (down.length === 0) return { tone: "good", word: "up" };
  return up.length === 0 ? { tone: "critical", word: "down" } : { tone: "warning", word: "up for some" };
}

function nodesPart({ nodes = {}, attention = [] }: FleetStatus): Part {
  const total = totalOf(nodes);
  const found = Object.entries(nodes).map(([condition]) => nodeCondition(condition));
  const phases = attention.map(({ kind }) => kind);
  const isCritical = phases.some((kind) => kind === "writes_stopped" || kind === "outage_degraded");
  const status: Status =
    total === 0
      ? unknown
      : isCritical
        ? { tone: "critical", word: "outage" }
        : worst(found.length === 0 ? [unknown] : found);
  return {
    id: "nodes",
    title: "Nodes and their shims",
    status,
    lines: Object.entries(nodes).map(
      ([condition, count = 0]) => `${formatCount(count)} ${nodeCondition(condition).word}`,
    ),
    href: hrefs.page("fleet"),
  };
}

function gatewaysPart(gateways: readonly Gateway[], isKnown: boolean): Part {
  const late = gateways.filter(isLate).length;
  return {
    id: "gateways",
    title: "Gateways",
    status:
      gateways.length === 0
        ? isKnown
          ? { tone: "critical", word: "none" }
          : unknown
        : worst(gateways.map(gatewayStatus)),
    lines: [
      isKnown || gateways.length > 0 ? plural(gateways.length - late, "reports", "report") : "not known",
      ...(late > 0 ? [`${late} silent`] : []),
    ],
    href: hrefs.page("gateways"),
  };
}

function backendsPart(gateways: readonly Gateway[]): Part {
  const addresses = addressesOf(gateways);
  return {
    id: "backends",
    title: "Vault or OpenBao",
    status: addresses.length === 0 ? unknown : worst(addresses.map(addressStatus)),
    lines:
      addresses.length === 0
        ? ["no address is known"]
        : [
            `${addresses.filter(({ up }) => up.length > 0).length} of ${plural(addresses.length, "address", "addresses")} up`,
          ],
    href: hrefs.page("gateways"),
  };
}

/** A part that gateways name on /readyz where something is wrong with it. */
function checkedPart(id: PartId, title: string, checks: (name: string) => boolean, gateways: readonly Gateway[]): Part {
  const live = gateways.filter((gateway) => !isLate(gateway));
  const problems = live.flatMap(({ problems: all = {} }) =>
    Object.entries(all).flatMap(([name, text = ""]) => (checks(name) ? [text] : [])),
  );
  return {
    id,
    title,
    status: live.length === 0 ? unknown : problems.length > 0 ? { tone: "warning", word: "problem" } : good,
    lines: problems.length > 0 ? [...new Set(problems)].slice(0, 1) : [],
    href: hrefs.page("gateways"),
  };
}

function redisPart(status: FleetStatus, gateways: readonly Gateway[]): Part {
  const part = checkedPart("redis", "Redis", (name) => name === "redis", gateways);
  const kinds = (status.attention ?? []).map(({ kind }) => kind);
  if (kinds.includes("nodes_unknown")) return { ...part, status: { tone: "warning", word: "away" }, lines: [] };
  if (kinds.includes("foreign_values"))
    return { ...part, status: { tone: "warning", word: "foreign values" }, lines: [] };
  return part;
}

/**
 * @param status undefined while it is not known, or known no longer
 * @param gateways the same
 */
export function partsOf(
  status: FleetStatus | undefined,
  listed: { readonly gateways?: readonly Gateway[]; readonly incomplete?: string } | undefined,
): readonly Part[] {
  const gateways = listed?.gateways ?? [];
  const isKnown = listed !== undefined && (listed.incomplete ?? "") === "";
  return [
    nodesPart(status ?? {}),
    gatewaysPart(gateways, isKnown),
    backendsPart(gateways),
    redisPart(status ?? {}, gateways),
    checkedPart("registry", "Registry", (name) => name.startsWith("registry"), gateways),
    checkedPart("audit", "Audit", (name) => name.startsWith("audit"), gateways),
    {
      id: "fleet",
      title: "Fleet service",
      status: status === undefined ? { tone: "critical", word: "does not answer" } : good,
      lines: status === undefined ? [] : [plural(totalOf(status.clusters ?? {}), "cluster")],
      href: hrefs.page("overview"),
    },
  ];
}
