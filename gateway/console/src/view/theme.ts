// Light, dark, or as the system has it: kept in this browser.
import { signal } from "@preact/signals";

export const themes = ["auto", "light", "dark"] as const;
export type Theme = (typeof themes)[number];

const key = "claviger-theme";

function isTheme(text: string | null): text is Theme {
  return (themes as readonly (string | null)[]).includes(text);
}

/** What is chosen; told anew when the system changes its mind. */
export const theme = signal<Theme>("auto");

/** @param root the element that has the colours */
export function startTheme(root: HTMLElement, store: Storage): void {
  const kept = store.getItem(key);
  if (isTheme(kept)) theme.value = kept;
  theme.subscribe((value) => {
    root.dataset["theme"] = value;
    store.setItem(key, value);
  });
}

export function nextTheme(now: Theme): Theme {
  return themes[(themes.indexOf(now) + 1) % themes.length] ?? "auto";
}
