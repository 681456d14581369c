// The role that somebody has now who is not here: whoever asked for a change that waits.
import { operatorName, tokenOperatorName } from "@claviger/proto/wire/names.ts";
import type { Operator } from "../caller.ts";
import { createGrant, highestOf } from "../grants.ts";
import type { Roles } from "../roles.ts";

/** An operator by name, as the configuration has it now; undefined where it gives no role. */
export type StandingOf = (
  who: Pick<Operator, "operator"> & { readonly groups?: readonly string[] | undefined },
  until: number,
) => Operator | undefined;

/** Who was an operator by groups of a token is taken to be in them still: the caller bounds for how long. */
export function createStanding(roles: () => Roles): StandingOf {
  return ({ operator, groups = [] }, until) => {
    const { operators, oidc } = roles();
    const of = { kind: "operator", operator, until } as const;
    if (operatorName.is(operator)) {
      const own = Object.hasOwn(operators, operator) ? operators[operator] : undefined;
      return own && { ...of, ...createGrant(own) };
    }
    if (!tokenOperatorName.is(operator)) return undefined;
    const [, issuer = "", ...name] = operator.split(":");
    const config = Object.entries(oidc).find(([one]) => one === issuer)?.[1];
    if (config === undefined) return undefined;
    const find = (all: typeof config.groups, key: string) => (Object.hasOwn(all, key) ? all[key] : undefined);
    const own = find(config.operators, name.join(":"));
    const grants = own === undefined ? groups.flatMap((group) => find(config.groups, group) ?? []) : [own];
    const grant = highestOf(grants.map(createGrant));
    return grant && { ...of, groups, ...grant };
  };
}
