// The gateways and what they reach: Vaults, Redis, audit sinks.
import type { Gateway } from "../api/json.ts";
import { timeOf } from "../model/age.ts";
import { formatCount } from "../model/count.ts";
import { type Address, addressesOf, addressStatus, gatewayStatus, partsOf } from "../model/parts.ts";
import { hrefs } from "../model/route.ts";
import { Incomplete, Section } from "../view/loaded.tsx";
import { Page } from "../view/page.tsx";
import { Age, Facts, StatusWord, Unknown } from "../view/status.tsx";
import { type Cell, Table } from "../view/table.tsx";
import { useResource, useStore } from "../view/use-store.ts";

/** The end that comes first, of certificates and logins. */
function firstOf(ends: readonly (string | undefined)[]): number | undefined {
  const times = ends.flatMap((end) => timeOf(end) ?? []);
  return times.length === 0 ? undefined : Math.min(...times);
}

const columns: readonly Cell<Gateway>[] = [
  { title: "Gateway", cell: ({ name = "" }) => <a href={hrefs.gateway(name)}>{name}</a> },
  { title: "Condition", cell: (gateway) => <StatusWord {...gatewayStatus(gateway)} /> },
  { title: "Last word", cell: ({ lastSeen }) => <Age at={lastSeen} /> },
  { title: "Version", cell: ({ version = "" }) => (version === "" ? <Unknown /> : version) },
  { title: "Started", cell: ({ startedAt }) => <Age at={startedAt} /> },
  {
    title: "Busy",
    isNumber: true,
    cell: ({ eventLoop }) => (eventLoop === undefined ? <Unknown /> : `${Math.round(eventLoop * 100)} %`),
  },
  { title: "Connections", isNumber: true, cell: ({ connections = 0 }) => formatCount(connections) },
  {
    title: "First certificate ends",
    cell: ({ certificates = [] }) => <Age at={firstOf(certificates.map(({ until }) => until))} />,
  },
  {
    title: "First login ends",
    cell: ({ backends = [] }) => <Age at={firstOf(backends.map(({ loginUntil }) => loginUntil))} none="none ends" />,
  },
  {
    title: "Registry",
    cell: ({ registryVersion = "" }) =>
      registryVersion === "" ? <Unknown /> : <code>{registryVersion.slice(0, 12)}</code>,
  },
];

const addressColumns: readonly Cell<Address>[] = [
  { title: "Address", cell: ({ address }) => <code>{address}</code> },
  { title: "Backend", cell: ({ backend }) => backend },
  { title: "State", cell: (address) => <StatusWord {...addressStatus(address)} /> },
  { title: "Up for", isNumber: true, cell: ({ up }) => String(up.length) },
  { title: "Down for", cell: ({ down }) => (down.length === 0 ? "none" : down.join(", ")) },
];

type Problem = { readonly gateway: string; readonly check: string; readonly text: string };

function problemsOf(gateways: readonly Gateway[]): readonly Problem[] {
  return gateways.flatMap(({ name = "", problems = {}, certificates = [] }) => [
    ...Object.entries(problems).map(([check, text = ""]) => ({ gateway: name, check, text })),
    ...certificates.flatMap(({ role = "", problem = "" }) =>
      problem === "" ? [] : [{ gateway: name, check: `certificate/${role}`, text: problem }],
    ),
  ]);
}

export function GatewaysPage() {
  const store = useStore();
  const state = useResource(store.gateways);
  const status = useResource(store.status, 2000);
  const parts = partsOf(
    status.failure === undefined ? status.value : undefined,
    state.failure === undefined ? state.value : undefined,
  ).filter(({ id }) => id === "redis" || id === "registry" || id === "audit");
  return (
    <Page title="Gateways and Vaults">
      <Section title="Gateways" state={state}>
        {({ gateways = [], incomplete }) => (
          <>
            <Incomplete text={incomplete} />
            <Table
              caption="Gateways"
              rows={gateways}
              columns={columns}
              keyOf={({ name = "" }) => name}
              none="No gateway has reported itself in the last quarter of an hour."
            />
          </>
        )}
      </Section>
      <Section title="Vaults, as gateways find them" state={state}>
        {({ gateways = [] }) => (
          <Table
            caption="Addresses of Vaults"
            rows={addressesOf(gateways)}
            columns={addressColumns}
            keyOf={({ backend, address }) => `${backend} ${address}`}
            none="No gateway tells of an address."
          />
        )}
      </Section>
      <Section title="Redis, registry and audit, as gateways find them" state={state}>
        {({ gateways = [] }) => (
          <>
            <Facts rows={parts.map(({ id, title, status: word }) => [title, <StatusWord key={id} {...word} />])} />
            <Table
              caption="What is not well"
              rows={problemsOf(gateways)}
              keyOf={({ gateway, check }) => `${gateway} ${check}`}
              none="No gateway tells of a problem."
              columns={[
                { title: "Gateway", cell: ({ gateway }) => <a href={hrefs.gateway(gateway)}>{gateway}</a> },
                { title: "Check", cell: ({ check }) => check },
                { title: "What is wrong", cell: ({ text }) => text },
              ]}
            />
          </>
        )}
      </Section>
    </Page>
  );
}
