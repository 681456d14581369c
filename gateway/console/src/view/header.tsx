// What stands above each page: the menu, who looks, how fresh everything is.
import { useEffect } from "preact/hooks";
import { toApiError } from "../api/failure.ts";
import { formatSpan } from "../model/age.ts";
import { operatorOf } from "../model/role.ts";
import { hrefs, pageNames, type PageName } from "../model/route.ts";
import { StatusWord } from "./status.tsx";
import { nextTheme, theme } from "./theme.ts";
import { useResource, useStore } from "./use-store.ts";

const titles: Readonly<Record<PageName, string>> = {
  attention: "Attention",
  overview: "Overview",
  fleet: "Fleet",
  keys: "Keys",
  gateways: "Gateways",
  audit: "Audit",
  changes: "Changes",
};

function Freshness() {
  const { live, clock } = useStore();
  const state = live.value;
  switch (state.kind) {
    case "starting":
      return <StatusWord tone="unknown" word="Connecting" />;
    case "live":
      return <StatusWord tone="good" word="Live" />;
    case "polling": {
      const away = state.failure?.code === "offline";
      const since = formatSpan(clock.now.value - state.since);
      return away ? (
        <StatusWord tone="critical" word={`No answer for ${since}`} />
      ) : (
        <StatusWord tone="warning" word={`Polling for ${since}`} />
      );
    }
  }
}

function Who() {
  const { who, access, api, say } = useStore();
  const { value } = useResource(who);
  const { logout } = useResource(access).value ?? {};
  if (value === undefined) return null;
  const { identity = "", role = "", clusters = "" } = value;
  const leave = async (path: string): Promise<void> => {
    try {
      await api.logout(path);
      location.reload();
    } catch (error) {
      say(toApiError(error).message);
    }
  };
  return (
    <>
      <span class="who" title={identity}>
        {operatorOf(identity)}
        <span class="muted">
          {" "}
          {role}
          {clusters !== "" && `, ${clusters}`}
        </span>
      </span>
      {logout !== undefined && (
        <button type="button" class="small" onClick={() => void leave(logout)}>
          Log out
        </button>
      )}
    </>
  );
}

/** What the page itself shows is asked for before what stands in its header. */
const laterMs = 300;

/** Items of attention, behind the entry of the menu. */
function Badge() {
  const { status } = useStore();
  useEffect(() => {
    let stop = (): void => {};
    const timer = setTimeout(() => {
      stop = status.follow();
    }, laterMs);
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [status]);
  const { value, failure } = status.state.value;
  const total = value?.attentionTotal ?? 0;
  if (value === undefined || failure !== undefined)
    return (
      <span class="badge unknown">
        ?<span class="hidden"> not known</span>
      </span>
    );
  if (total === 0) return null;
  const isCritical = value.attention?.some(({ severity }) => severity === "critical") === true;
  return <span class={`badge ${isCritical ? "critical" : "warning"}`}>{total}</span>;
}

export function Header({ page }: { readonly page: PageName | undefined }) {
  const current = theme.value;
  return (
    <header class="top">
      <a class="brand" href={hrefs.page("attention")}>
        Claviger
      </a>
      <nav aria-label="Pages">
        <ul>
          {pageNames.map((name) => (
            <li key={name}>
              <a href={hrefs.page(name)} {...(name === page && { "aria-current": "page" as const })}>
                {titles[name]}
                {name === "attention" && <Badge />}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <div class="top-end">
        <Freshness />
        <Who />
        <button type="button" class="small" onClick={() => (theme.value = nextTheme(current))}>
          Theme: {current}
        </button>
      </div>
    </header>
  );
}
