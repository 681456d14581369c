// Keeps a label of metrics bounded: the first so many values stand for themselves, all others are `other`.

export const otherValue = "other";

/** @param max how many values there are beside `other`; they are never forgotten */
export function createBoundedLabel(max: number): (value: string) => string {
  const known = new Set<string>();
  return (value) => {
    if (known.has(value)) return value;
    if (known.size >= max) return otherValue;
    known.add(value);
    return value;
  };
}
