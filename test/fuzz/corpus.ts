// Inputs that are tried in every run: a target's own, and what fuzzing has found.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Target } from "./target.ts";

export const corpusDir = join(import.meta.dirname, "corpus");

export function corpusOf({ name, seeds }: Pick<Target, "name" | "seeds">): readonly Buffer[] {
  const dir = join(corpusDir, name);
  const kept = existsSync(dir) ? readdirSync(dir).toSorted() : [];
  return [...seeds(), ...kept.map((file) => readFileSync(join(dir, file)))];
}
