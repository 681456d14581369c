// What a bundle does first: an old Node.js ends with one line instead of a stack trace of minified
// code. Plain old syntax, since such a Node.js has to read it.

/** The oldest major version that the programs run on. */
export const oldestNode = 24;

/**
 * JavaScript for the top of a bundle.
 * @param program named in the line
 */
export function nodeGuard(program: string): string {
  const line = `${program} needs Node.js ${oldestNode} or later, this is `;
  return `if(parseInt(process.versions.node,10)<${oldestNode}){process.stderr.write(${JSON.stringify(line)}+process.versions.node+"\\n");process.exit(2)}`;
}
