// A place is searched for what must not be there, and in the same pass for a control that is: a
// search that misses its control has shown nothing and ends the run.
import { randomBytes } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { searchFiles } from "../lab/files.ts";
import { type Pattern, createFinder } from "../lab/finder.ts";
import { encode, type Form, forms, formsOf } from "../lab/forms.ts";
import { searchMemory } from "../lab/memory.ts";

/** What is looked for, by the name that the document gives it. */
export type Sought = { readonly what: string; readonly bytes: Uint8Array };

/** How often something was found, in each form that it has. */
export type Hits = { readonly what: string; readonly hits: readonly { readonly form: Form; readonly count: number }[] };

/** Searches a place in one pass. */
export type Place = {
  /** As the document names it. */
  readonly name: string;
  search(patterns: readonly Pattern[]): ReadonlyMap<string, number>;
};

/**
 * Text like a password, of which no form is like another: it has to be escaped in JSON. 48 random
 * hexadecimal digits.
 */
export function newValue(): Buffer {
  return Buffer.from(`"pass\\word"\n${randomBytes(24).toString("hex")}`);
}

/** A copy that is planted where a search has to find it, in all forms. */
export type Control = { readonly value: Buffer; readonly copies: Readonly<Record<Form, string>> };

export function newControl(): Control {
  const value = newValue();
  const copies = Object.fromEntries(forms.map((form) => [form, encode(value, form)?.toString() ?? ""]));
  return { value, copies: copies as Record<Form, string> };
}

/** All copies in one text. */
export function textOf({ copies }: Control): string {
  return forms.map((form) => copies[form]).join(" ");
}

/** @throws Error when the control is not found in every form */
export function look(place: Place, sought: readonly Sought[], control: Control): readonly Hits[] {
  const all = [...sought, { what: "the control", bytes: control.value }];
  const patterns = all.flatMap(({ bytes }, i) =>
    formsOf(bytes).map((pattern) => ({ name: `${i} ${pattern.name}`, bytes: pattern.bytes })),
  );
  const found = place.search(patterns);
  const hits = all.map(({ what, bytes }, i) => {
    const has = new Set(formsOf(bytes).map(({ name }) => name));
    return {
      what,
      hits: forms.filter((form) => has.has(form)).map((form) => ({ form, count: found.get(`${i} ${form}`) ?? 0 })),
    };
  });
  const missed = forms.filter((form) => hits.at(-1)?.hits.some((hit) => hit.form === form && hit.count > 0) !== true);
  if (missed.length > 0)
    throw new Error(`the search of ${place.name} misses the copies that are planted there: ${missed.join(", ")}`);
  return hits.slice(0, -1);
}

/** The memory of a process; its control has to be in it already. */
export function memoryOf(name: string, pid: number): Place {
  return { name, search: (patterns) => searchMemory(pid, patterns).found };
}

/** Files and folders, with a control planted beside them for the time of the search. */
export function filesOf(name: string, paths: readonly string[], control: Control, scratch: string): Place {
  return {
    name,
    search(patterns) {
      const planted = join(scratch, "planted");
      writeFileSync(planted, textOf(control), { mode: 0o600 });
      try {
        return searchFiles([...paths, planted], patterns);
      } finally {
        rmSync(planted);
      }
    },
  };
}

/** Files that hold the control already. */
export function filesWithControl(name: string, paths: readonly string[]): Place {
  return { name, search: (patterns) => searchFiles(paths, patterns) };
}

/** Bytes that an attacker was given, e.g. by a server. */
export function bytesOf(name: string, bytes: Uint8Array): Place {
  return {
    name,
    search(patterns) {
      const found = new Map<string, number>();
      createFinder(patterns)(Buffer.from(bytes), ({ name: one }) => void found.set(one, (found.get(one) ?? 0) + 1));
      return found;
    },
  };
}
