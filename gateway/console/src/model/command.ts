// The command of the CLI that does what a button does.

/** As a POSIX shell reads it back. */
export function quote(text: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param reason as it was written; a place to fill in where it is empty */
export function command(words: readonly string[], reason?: string): string {
  const all = ["claviger", ...words.map(quote)];
  if (reason !== undefined) all.push("--reason", reason.trim() === "" ? "'...'" : quote(reason.trim()));
  return all.join(" ");
}
