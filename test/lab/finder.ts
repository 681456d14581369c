// Finds many patterns at once in bytes: those of a process' memory, or of a file.

export type Pattern = { readonly name: string; readonly bytes: Uint8Array };

const prefixSize = 3;
const pageSize = 4096;
const zeros = Buffer.alloc(pageSize);

/**
 * Finds many patterns at once: what does not begin like one of them costs a look into a table. Of a
 * process' memory much is zeros; a page of them is passed over, unless a pattern begins with one.
 */
export function createFinder(patterns: readonly Pattern[]) {
  // The first two bytes alone first: that table stays in the processor's cache.
  const beginsPair = new Uint8Array(1 << 16);
  const byPrefix = new Map<number, Pattern[]>();
  for (const pattern of patterns) {
    const [first = 0, second = 0, third = 0] = pattern.bytes;
    const prefix = (first << 16) | (second << 8) | third;
    beginsPair[prefix >> 8] = 1;
    byPrefix.set(prefix, [...(byPrefix.get(prefix) ?? []), pattern]);
  }
  const hasZeroStart = patterns.some(({ bytes }) => bytes[0] === 0);
  return (chunk: Buffer, found: (pattern: Pattern) => void): void => {
    const end = chunk.length - prefixSize;
    for (let page = 0; page < end; page += pageSize) {
      const pageEnd = Math.min(page + pageSize, end);
      if (!hasZeroStart && zeros.compare(chunk, page, pageEnd, 0, pageEnd - page) === 0) continue;
      let pair = chunk[page] ?? 0;
      for (let at = page; at < pageEnd; at++) {
        pair = ((pair << 8) | (chunk[at + 1] as number)) & 0xffff;
        if (beginsPair[pair] === 0) continue;
        for (const pattern of byPrefix.get((pair << 8) | (chunk[at + 2] as number)) ?? [])
          if (chunk.subarray(at, at + pattern.bytes.length).equals(pattern.bytes)) found(pattern);
      }
    }
  };
}
