// What a role may do, so that a button that would be refused is not offered. The service decides all the same.

export const roles = ["viewer", "operator", "admin"] as const;
export type Role = (typeof roles)[number];

/** @param role what the service says of the caller; undefined or empty while it is not known, or for none */
export function may(role: string | undefined, need: Role): boolean {
  return roles.findIndex((one) => one === role) >= roles.indexOf(need);
}

/** The name of an operator in records, of what WhoAmI says. */
export function operatorOf(identity: string): string {
  return /^spiffe:\/\/[^/]+\/operator\/(.+)$/.exec(identity)?.[1] ?? identity;
}
