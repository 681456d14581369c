// Kinds of attention in words. A kind that is not known here stands as the service says it.

const titles: Readonly<Record<string, string>> = {
  writes_stopped: "Writes have stopped",
  backend_down: "A backend is down",
  no_gateway: "No gateway reports itself",
  certificate_expired: "A certificate has expired",
  outage_degraded: "Outage: writes stop next",
  key_broken: "A key is broken",
  nodes_unknown: "Nothing is known of nodes",
  foreign_values: "Somebody else writes to Redis",
  gateway_problem: "A gateway has a problem",
  gateway_not_seen: "A gateway is silent",
  gateway_login: "A gateway's login ends",
  gateway_certificate: "A gateway's certificate",
  certificate_expiring: "A certificate expires",
  key_not_promoted: "A key version was not promoted",
  node_revoked: "A node is revoked",
  node_missing: "A node is missing",
  node_not_seen: "A node is not seen",
  outage: "Outage",
  key_old: "A key is too old",
  gateway_busy: "A gateway is busy",
};

export function attentionTitle(kind = ""): string {
  return titles[kind] ?? kind.replaceAll("_", " ");
}

/** What is said aloud when the number of items changes. */
export function attentionWords(total: number): string {
  if (total === 0) return "Nothing needs a person";
  return total === 1 ? "1 thing needs a person" : `${total} things need a person`;
}
