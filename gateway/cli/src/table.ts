// What the command line prints, with names that others chose made harmless.
import { unprintable } from "@claviger/proto/runtime/table.ts";

/** Output with an escape for what a terminal would act upon: its lines stay lines, and JSON stays the same JSON. */
export function printableLines(text: string): string {
  return text.replaceAll(unprintable, (found) =>
    found === "\n"
      ? found
      : Array.from({ length: found.length }, (_, i) => `\\u${found.charCodeAt(i).toString(16).padStart(4, "0")}`).join(
          "",
        ),
  );
}
