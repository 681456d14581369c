// The parts of the site with their state, and the fleet in numbers.
import { formatCount } from "../model/count.ts";
import { valuesOf } from "../model/history.ts";
import { partsOf } from "../model/parts.ts";
import { hrefs } from "../model/route.ts";
import { clusterState, nodeCondition, outagePhase } from "../model/tone.ts";
import { Chart } from "../view/chart.tsx";
import { CallCharts, HistorySection } from "../view/history.tsx";
import { Incomplete, Section } from "../view/loaded.tsx";
import { Page } from "../view/page.tsx";
import { Picture } from "../view/picture.tsx";
import { Facts, StatusWord } from "../view/status.tsx";
import { useResource, useStore } from "../view/use-store.ts";

type Counts = Readonly<Record<string, number | undefined>>;

function Tallies({
  counts,
  statusOf,
}: {
  readonly counts: Counts;
  readonly statusOf: (name: string) => Parameters<typeof StatusWord>[0];
}) {
  const all = Object.entries(counts);
  if (all.length === 0) return <span class="muted">none</span>;
  return (
    <ul class="tallies">
      {all.map(([name, count = 0]) => (
        <li key={name}>
          <span class="number">{formatCount(count)}</span> <StatusWord {...statusOf(name)} />
        </li>
      ))}
    </ul>
  );
}

function versions(counts: Counts): string {
  const all = Object.entries(counts);
  return all.length === 0
    ? "unknown"
    : all.map(([version, count = 0]) => `${version} (${formatCount(count)})`).join(", ");
}

export function OverviewPage() {
  const { status, gateways } = useStore();
  const seen = useResource(status, 10_000);
  const listed = useResource(gateways);
  const { value } = seen;
  // What could not be read now is not shown as it was.
  const parts = partsOf(
    seen.failure === undefined ? value : undefined,
    listed.failure === undefined ? listed.value : undefined,
  );
  return (
    <Page title="Overview">
      <Incomplete text={value?.incomplete} />
      <Section title="The parts and their state" state={seen}>
        {() => <Picture parts={parts} />}
      </Section>
      <Section title="In numbers" state={seen}>
        {(fleet) => (
          <Facts
            rows={[
              ["Clusters", <Tallies key="c" counts={fleet.clusters ?? {}} statusOf={clusterState} />],
              ["Nodes", <Tallies key="n" counts={fleet.nodes ?? {}} statusOf={nodeCondition} />],
              [
                "Phases of an outage",
                <Tallies key="p" counts={fleet.phases ?? {}} statusOf={(phase) => outagePhase(Number(phase))} />,
              ],
              [
                "Certificates of nodes with less than a third of their life",
                formatCount(fleet.expiringCertificates ?? 0),
              ],
              ["Keys older than the policy allows", formatCount(fleet.oldKeys ?? 0)],
              ["Versions of shims", versions(fleet.shimVersions ?? {})],
              ["Versions of gateways", versions(fleet.gatewayVersions ?? {})],
              [
                "Needs a person",
                <a key="a" href={hrefs.page("attention")}>
                  {formatCount(fleet.attentionTotal ?? 0)}
                </a>,
              ],
            ]}
          />
        )}
      </Section>
      <HistorySection title="The last hour and month" of={{}}>
        {(history) => (
          <>
            <CallCharts history={history} />
            <Chart
              title="Nodes seen within three minutes"
              unit=""
              data={valuesOf(history, { nodes: ({ nodesSeen }) => nodesSeen })}
            />
          </>
        )}
      </HistorySection>
    </Page>
  );
}
