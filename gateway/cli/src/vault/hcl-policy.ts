// Rules of a Vault policy as HCL: written, and read again as far as this command writes them.

/** One rule. @param parameters the only ones that a request may have; all where none is named */
export function block(path: string, capabilities: readonly string[], ...parameters: readonly string[]): string {
  const list = capabilities.map((capability) => `"${capability}"`).join(", ");
  if (parameters.length === 0) return `path "${path}" { capabilities = [${list}] }`;
  return `path "${path}" {\n  capabilities = [${list}]\n  allowed_parameters = { ${parameters.map((one) => `"${one}" = []`).join(", ")} }\n}`;
}

/** The capabilities of each path. */
function rulesOf(text: string): ReadonlyMap<string, readonly string[]> {
  const plain = text.replaceAll(/^\s*#.*$/gm, "");
  const found = plain.matchAll(/path\s+"([^"]+)"\s*\{[^}]*?capabilities\s*=\s*\[([^\]]*)\]/g);
  return new Map(
    [...found].map(([, path = "", list = ""]) => [path, [...list.matchAll(/"([^"]+)"/g)].map(([, one = ""]) => one)]),
  );
}

/** What a policy would lose: paths with the capabilities that the next one does not give. */
export function removedRights(before: string, next: string): readonly string[] {
  const after = rulesOf(next);
  return [...rulesOf(before)].flatMap(([path, capabilities]) => {
    const lost = capabilities.filter((one) => one !== "deny" && after.get(path)?.includes(one) !== true);
    return lost.length === 0 ? [] : [`${path} (${lost.join(", ")})`];
  });
}
