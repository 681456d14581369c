// What is found at every try is logged once: when it begins, and when it becomes something else.

export interface Novelty {
  /**
   * Does this tell something that the last one of this event did not?
   * @param mark what makes it another one: a version, a reason
   */
  isNew(event: string, ...mark: readonly (string | number | undefined)[]): boolean;
  /** All is well: whatever happens next is new. */
  reset(): void;
}

export function createNovelty(): Novelty {
  const last = new Map<string, string>();
  return {
    isNew(event, ...mark) {
      const text = mark.join(" ");
      if (last.get(event) === text) return false;
      last.set(event, text);
      return true;
    },
    reset: () => last.clear(),
  };
}
