// Who is the same person: a certificate and a token, or two certificates, may be one's own.

/** The name by which a person is known to the two-person rule, whatever they come with. */
export type PersonOf = (operator: string) => string;

/**
 * Names are told apart without their issuer: `ada` of a certificate and `oidc:ISSUER:ada` of a token are the same
 * person, as are all names that the settings list under one.
 */
export function createPeople(people: Readonly<Record<string, readonly string[]>>): PersonOf {
  const bare = (name: string): string => name.replace(/^oidc:[^:]*:/, "").toLowerCase();
  const listed = new Map(
    Object.entries(people).flatMap(([person, names]) => names.map((name) => [bare(name), `person ${person}`] as const)),
  );
  return (operator) => listed.get(bare(operator)) ?? bare(operator);
}
