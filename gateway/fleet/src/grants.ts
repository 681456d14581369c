// What an operator is given: a role, for clusters. The settings for it, and what they mean.
// (docs/architecture.md #control-plane.)
import { z } from "@claviger/proto/runtime/config.ts";
import { createServes, selectorSchema, selectorText, type Serves } from "@claviger/gateway-core/src/registry/labels.ts";

export const roles = ["viewer", "operator", "admin"] as const;
export type Role = (typeof roles)[number];

export const rank: Readonly<Record<Role, number>> = { viewer: 0, operator: 1, admin: 2 };

export const grantSchema = z.strictObject({
  /**
   * `viewer` sees clusters and nodes; `operator` makes tokens, suspends and revokes as well; `admin` also
   * takes a suspension or a revocation back.
   */
  role: z.enum(roles),
  /** The clusters that the role is for, by the labels of their records: a label selector. All where it is absent. */
  clusters: z.optional(selectorSchema),
});
export type GrantConfig = z.infer<typeof grantSchema>;

/** `mayTouch` says which clusters the role is for, `clusters` says it in words: empty for all. */
export type Grant = { readonly role: Role; readonly mayTouch: Serves; readonly clusters: string };

export function createGrant({ role, clusters }: GrantConfig): Grant {
  return { role, mayTouch: createServes(clusters), clusters: clusters === undefined ? "" : selectorText(clusters) };
}

/**
 * One grant of several: the highest role of them, for the clusters of those that give it. What a lower one
 * says of other clusters does not count: a role is never held where no single grant gives it.
 */
export function highestOf(grants: readonly Grant[]): Grant | undefined {
  const [first] = grants.toSorted((a, b) => rank[b.role] - rank[a.role]);
  if (first === undefined) return undefined;
  const { role } = first;
  const same = grants.filter((grant) => grant.role === role);
  const isForAll = same.some(({ clusters }) => clusters === "");
  return {
    role,
    mayTouch: (cluster) => same.some(({ mayTouch }) => mayTouch(cluster)),
    clusters: isForAll ? "" : [...new Set(same.map(({ clusters }) => clusters))].join(" or "),
  };
}
