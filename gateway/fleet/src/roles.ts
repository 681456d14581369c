// Who may do what, as fleet.yaml says it now: its operators and issuers of tokens are taken again when the file
// changes. All else of it counts from the next start. (docs/control-plane.md #operators.)
import { isDeepStrictEqual } from "node:util";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { FleetConfig } from "./config.ts";

export type Roles = Pick<FleetConfig, "operators" | "oidc">;

export type LiveRoles = {
  /** The same objects until they are others. */
  readonly current: () => Roles;
  /**
   * Reads the file again.
   * @returns whether there is something new
   * @throws ConfigError: what was read before goes on
   */
  readonly reload: () => boolean;
};

/**
 * @param config as it was at the start
 * @param read the file. @throws ConfigError
 */
export function createRoles(config: FleetConfig, read: () => FleetConfig, log: Log): LiveRoles {
  let { operators, oidc } = config;
  let roles: Roles = { operators, oidc };
  let told = "";

  /** Names the settings that have changed and do not count yet, once. */
  const tellRest = (next: FleetConfig): void => {
    const settings = (Object.keys({ ...config, ...next }) as readonly (keyof FleetConfig)[]).filter(
      (name) => name !== "operators" && name !== "oidc" && !isDeepStrictEqual(next[name], config[name]),
    );
    const names = settings.join(", ");
    if (names !== "" && names !== told)
      log.warn({ event: "restart-needed", settings }, "settings have changed that count from the next start");
    told = names;
  };
  return {
    current: () => roles,
    reload() {
      const next = read();
      tellRest(next);
      // What is as it was stays the same object: keys of issuers go on.
      if (!isDeepStrictEqual(next.operators, operators)) ({ operators } = next);
      if (!isDeepStrictEqual(next.oidc, oidc)) ({ oidc } = next);
      const hasNews = operators !== roles.operators || oidc !== roles.oidc;
      if (hasNews) roles = { operators, oidc };
      return hasNews;
    },
  };
}
