// One gateway: what it says of itself, and its last hour.
import type { Gateway, HistoryPoint } from "../api/json.ts";
import { formatCount } from "../model/count.ts";
import { addressesOf, valuesOf } from "../model/history.ts";
import { gatewayStatus } from "../model/parts.ts";
import { hrefs } from "../model/route.ts";
import { Chart } from "../view/chart.tsx";
import { CallCharts, HistorySection } from "../view/history.tsx";
import { Incomplete, Section } from "../view/loaded.tsx";
import { Page } from "../view/page.tsx";
import { Age, Facts, StatusWord, Unknown } from "../view/status.tsx";
import { Table } from "../view/table.tsx";
import { useResource, useStore } from "../view/use-store.ts";

function Details({ gateway }: { readonly gateway: Gateway }) {
  const { version = "", eventLoop, connections = 0, registryVersion = "" } = gateway;
  return (
    <>
      <Facts
        rows={[
          ["Last word", <Age key="l" at={gateway.lastSeen} />],
          ["Version", version === "" ? <Unknown key="v" /> : version],
          ["Started", <Age key="s" at={gateway.startedAt} />],
          [
            "Its one core is busy",
            eventLoop === undefined ? <Unknown key="b" /> : `${Math.round(eventLoop * 100)} % of the time`,
          ],
          ["Connections", formatCount(connections)],
          ["Registry in force", registryVersion === "" ? <Unknown key="r" /> : <code key="r">{registryVersion}</code>],
        ]}
      />
      <h3>Backends</h3>
      <Table
        caption="Backends"
        rows={gateway.backends ?? []}
        keyOf={({ name = "" }) => name}
        none="It tells of none."
        columns={[
          { title: "Backend", cell: ({ name = "" }) => name },
          { title: "Up", cell: ({ addressesUp = [] }) => addressesUp.join(", ") },
          {
            title: "Down",
            cell: ({ addressesDown = [] }) =>
              addressesDown.length === 0 ? "none" : <StatusWord tone="critical" word={addressesDown.join(", ")} />,
          },
          { title: "Login ends", cell: ({ loginUntil }) => <Age at={loginUntil} none="does not end" /> },
        ]}
      />
      <h3>Certificates</h3>
      <Table
        caption="Certificates"
        rows={gateway.certificates ?? []}
        keyOf={({ role = "" }) => role}
        none="It tells of none."
        columns={[
          { title: "Role", cell: ({ role = "" }) => role },
          { title: "Ends", cell: ({ until }) => <Age at={until} /> },
          {
            title: "State",
            cell: ({ problem = "" }) =>
              problem === "" ? <StatusWord tone="good" word="ok" /> : <StatusWord tone="warning" word={problem} />,
          },
        ]}
      />
      <h3>Not ok</h3>
      <Table
        caption="Checks that are not ok"
        rows={Object.entries(gateway.problems ?? {})}
        keyOf={([check]) => check}
        none="Every check of its /readyz is ok."
        columns={[
          { title: "Check", cell: ([check]) => check },
          { title: "What is wrong", cell: ([, text = ""]) => text },
        ]}
      />
    </>
  );
}

function perBatch({ batches = 0, batchItems }: HistoryPoint): number | undefined {
  return batchItems === undefined || batches === 0 ? undefined : batchItems / batches;
}

export function GatewayPage({ name }: { readonly name: string }) {
  const store = useStore();
  const state = useResource(store.gateways);
  const gateway = state.value?.gateways?.find((one) => one.name === name);
  return (
    <Page title={name} head={gateway !== undefined && <StatusWord {...gatewayStatus(gateway)} />}>
      <p class="crumbs">
        <a href={hrefs.page("gateways")}>Gateways and Vaults</a>
      </p>
      <Section title="What it says of itself" state={state}>
        {({ incomplete }) => (
          <>
            <Incomplete text={incomplete} />
            {gateway === undefined ? (
              <p>It has not reported itself in the last quarter of an hour.</p>
            ) : (
              <Details gateway={gateway} />
            )}
          </>
        )}
      </Section>
      <HistorySection title="Over time" of={{ gateway: name }}>
        {(history) => (
          <>
            <CallCharts history={history} />
            <Chart
              title="Usual time of an answer, by address"
              unit="milliseconds"
              data={valuesOf(
                history,
                Object.fromEntries(
                  addressesOf(history).map((address) => [
                    address,
                    ({ latencyMilliseconds = {} }: HistoryPoint) => latencyMilliseconds[address],
                  ]),
                ),
              )}
            />
            <Chart
              title="Addresses that did not serve"
              unit=""
              data={valuesOf(history, { down: ({ addressesDown = [] }) => addressesDown.length })}
            />
            <Chart title="Calls in a batch" unit="mean" data={valuesOf(history, { calls: perBatch })} />
            <Chart
              title="Its core is busy"
              unit="% of the time"
              data={valuesOf(history, {
                busy: ({ eventLoop }) => (eventLoop === undefined ? undefined : eventLoop * 100),
              })}
            />
            <Chart title="Connections" unit="" data={valuesOf(history, { open: ({ connections }) => connections })} />
          </>
        )}
      </HistorySection>
    </Page>
  );
}
