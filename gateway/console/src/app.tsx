// All of it: the header, the page that the address names, and what a screen reader is told.
import type { ReadonlySignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { attentionWords } from "./model/attention.ts";
import { pageOf, type Route } from "./model/route.ts";
import { AttentionPage } from "./pages/attention.tsx";
import { AuditPage } from "./pages/audit.tsx";
import { ChangePage, ChangesPage } from "./pages/changes.tsx";
import { ClusterPage } from "./pages/cluster.tsx";
import { FleetPage } from "./pages/fleet.tsx";
import { GatewayPage } from "./pages/gateway.tsx";
import { GatewaysPage } from "./pages/gateways.tsx";
import { KeysPage } from "./pages/keys.tsx";
import { NodePage } from "./pages/node.tsx";
import { OverviewPage } from "./pages/overview.tsx";
import { Header } from "./view/header.tsx";
import { Notice } from "./view/loaded.tsx";
import { Page } from "./view/page.tsx";
import { useResource, useStore } from "./view/use-store.ts";

export type Navigation = {
  readonly route: ReadonlySignal<Route>;
  /** Changes what the page is asked for, without a step in the history of the browser. */
  readonly replace: (params: Readonly<Record<string, string>>) => void;
};

function Current({ route, replace }: { readonly route: Route; readonly replace: Navigation["replace"] }) {
  switch (route.kind) {
    case "cluster":
      return <ClusterPage key={route.cluster} name={route.cluster} />;
    case "node":
      return <NodePage key={`${route.cluster}/${route.node}`} cluster={route.cluster} node={route.node} />;
    case "gateway":
      return <GatewayPage key={route.gateway} name={route.gateway} />;
    case "change":
      return <ChangePage key={route.id} id={route.id} />;
    case "nowhere":
      return (
        <Page title="Not found">
          <p>There is no such page.</p>
        </Page>
      );
    case "page":
      switch (route.page) {
        case "attention":
          return <AttentionPage />;
        case "overview":
          return <OverviewPage />;
        case "fleet":
          return <FleetPage params={route.params} onParams={replace} />;
        case "keys":
          return <KeysPage />;
        case "gateways":
          return <GatewaysPage />;
        case "audit":
          return <AuditPage />;
        case "changes":
          return <ChangesPage />;
      }
  }
}

/** What is said when the number of items of attention changes. */
function AttentionVoice() {
  const { status, say } = useStore();
  const total = status.state.value.value?.attentionTotal ?? 0;
  const isKnown = status.state.value.value !== undefined;
  const last = useRef<number>(undefined);
  useEffect(() => {
    if (!isKnown) return;
    if (last.current !== undefined && last.current !== total) say(attentionWords(total));
    last.current = total;
  }, [total, isKnown]);
  return null;
}

function SignIn() {
  const { who, access } = useStore();
  const { failure } = who.state.value;
  const login = useResource(access).value?.login;
  if (failure?.code !== "unauthenticated") return null;
  return (
    <Notice tone="warning">
      The fleet service does not know who you are: {failure.message}.{" "}
      {login === undefined ? (
        <>Open the console with the command claviger console.</>
      ) : (
        <>
          <a href={login}>Log in</a>, or open the console with the command claviger console.
        </>
      )}
    </Notice>
  );
}

export function App({ route, replace }: Navigation) {
  const { said } = useStore();
  const main = useRef<HTMLElement>(null);
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to the page
      </a>
      <Header page={pageOf(route.value)} />
      <main id="main" ref={main} tabIndex={-1}>
        <SignIn />
        <Current route={route.value} replace={replace} />
      </main>
      <div class="hidden" role="status" aria-live="polite">
        {said.value}
      </div>
      <AttentionVoice />
    </>
  );
}
