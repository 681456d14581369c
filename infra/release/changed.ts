// Texts of this repository as a package has them: units and configurations say the same as those in
// infra/, but for the paths and users of a package.

/**
 * A text with each of the first replaced by the second.
 * @throws Error where one of them is not there, or more than once
 */
export function changed(text: string, changes: readonly (readonly [from: string, to: string])[]): string {
  return changes.reduce((before, [from, to]) => {
    const parts = before.split(from);
    if (parts.length !== 2)
      throw new Error(`'${from}' stands ${parts.length - 1} times in a text that a package changes`);
    return parts.join(to);
  }, text);
}
