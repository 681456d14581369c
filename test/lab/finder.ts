// Finds many patterns at once in bytes: those of a process' memory, or of a file.

export type Pattern = { readonly name: string; readonly bytes: Uint8Array };

const prefixSize = 3;

/** Finds many patterns at once: what does not begin like one of them costs a look into a table. */
export function createFinder(patterns: readonly Pattern[]) {
  const begins = new Uint8Array(1 << (8 * prefixSize));
  const byPrefix = new Map<number, Pattern[]>();
  const prefixAt = (bytes: Uint8Array, at: number): number =>
    ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
  for (const pattern of patterns) {
    const prefix = prefixAt(pattern.bytes, 0);
    begins[prefix] = 1;
    byPrefix.set(prefix, [...(byPrefix.get(prefix) ?? []), pattern]);
  }
  return (chunk: Buffer, found: (pattern: Pattern) => void): void => {
    for (let at = 0; at < chunk.length - prefixSize; at++) {
      const prefix = prefixAt(chunk, at);
      if (begins[prefix] === 0) continue;
      for (const pattern of byPrefix.get(prefix) ?? [])
        if (chunk.subarray(at, at + pattern.bytes.length).equals(pattern.bytes)) found(pattern);
    }
  };
}
