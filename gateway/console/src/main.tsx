// The pages of the fleet service: constructs everything, and is the only file that knows the window.
import { signal } from "@preact/signals";
import { render } from "preact";
import { createApi } from "./api/client.ts";
import { App } from "./app.tsx";
import { createClock } from "./data/clock.ts";
import { createStore } from "./data/store.ts";
import { hrefs, parseRoute } from "./model/route.ts";
import { startTheme } from "./view/theme.ts";
import { StoreContext } from "./view/use-store.ts";
import "./style/console.css";

/** Resolves after a time or when the signal aborts, and not before the page can be seen. */
async function wait(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
  if (!document.hidden || signal.aborted) return;
  await new Promise<void>((resolve) => {
    const look = (): void => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
  });
}

startTheme(document.documentElement, window.localStorage);
const clock = createClock((tick) => {
  setInterval(tick, 1000);
});
const api = createApi({ fetch: (url, init) => window.fetch(url, init), onAnswer: (time) => clock.adjust(time) });
const store = createStore({ api, clock, wait, now: () => clock.read() });
const route = signal(parseRoute(location.hash));
window.addEventListener("hashchange", () => {
  route.value = parseRoute(location.hash);
});

function replace(params: Readonly<Record<string, string>>): void {
  const now = route.peek();
  if (now.kind !== "page") return;
  history.replaceState(undefined, "", hrefs.page(now.page, params));
  route.value = parseRoute(location.hash);
}

const place = document.getElementById("console");
if (place === null) throw new TypeError("the page has no place for the console");
void store.run(new AbortController().signal);
render(
  <StoreContext.Provider value={store}>
    <App route={route} replace={replace} />
  </StoreContext.Provider>,
  place,
);
