// One cluster: its record, its nodes, its key, what was asked of it, and who has changed what.
import type { Cluster, Node } from "../api/json.ts";
import { clusterActions } from "../model/action.ts";
import { timeOf } from "../model/age.ts";
import { orUnknown } from "../model/count.ts";
import { ratesOf } from "../model/history.ts";
import { hrefs } from "../model/route.ts";
import { clusterState, expiry, nodeCondition } from "../model/tone.ts";
import { changeMethods } from "../model/audit-methods.ts";
import { Actions } from "../view/action-dialog.tsx";
import { Chart } from "../view/chart.tsx";
import { HistorySection } from "../view/history.tsx";
import { Failure, Incomplete, Panel, ReadAge, Section } from "../view/loaded.tsx";
import { Page } from "../view/page.tsx";
import { Records } from "../view/records.tsx";
import { Age, Facts, Labels, StatusWord, Unknown } from "../view/status.tsx";
import { Table } from "../view/table.tsx";
import { useResource, useStore } from "../view/use-store.ts";
import { ClusterKey, ClusterKeyIds, placeOf } from "./cluster-key.tsx";

function listOf(all: readonly string[] | undefined, none: string): string {
  return all === undefined || all.length === 0 ? none : all.join(", ");
}

function Record({ cluster }: { readonly cluster: Cluster }) {
  const { labels = {}, expectsNoNode = false, requestsPerSecond = 0 } = cluster;
  const texts = Object.entries(labels).map(([key, value = ""]) => `${key}=${value}`);
  return (
    <Facts
      rows={[
        ["Labels", <Labels key="l" labels={texts.toSorted()} />],
        ["uid", <code key="u">{cluster.uid}</code>],
        ["Generation", orUnknown(cluster.generation)],
        ["Rotation", cluster.rotation ?? <Unknown key="r" />],
        ["Keys that encrypt", listOf(cluster.keys?.map(placeOf), "none")],
        ["Keys that may still decrypt", listOf(cluster.previousKeys?.map(placeOf), "none")],
        ["Limit, requests a second", requestsPerSecond === 0 ? "as gateways have it" : String(requestsPerSecond)],
        [
          "Expected nodes",
          expectsNoNode ? "none: no node may speak for it" : listOf(cluster.expectedNodes, "any name"),
        ],
        ["Revoked nodes", listOf(cluster.revokedNodes, "none")],
        ["Refused serial numbers", listOf(cluster.revokedSerials, "none")],
        ["Own CA", cluster.issuer === undefined || cluster.issuer === "" ? "any that gateways trust" : "yes"],
      ]}
    />
  );
}

function NodeExpiry({ node: { certificateNotBefore, certificateNotAfter } }: { readonly node: Node }) {
  const { clock } = useStore();
  const until = timeOf(certificateNotAfter);
  const from = timeOf(certificateNotBefore);
  if (until === undefined) return <Unknown />;
  const { tone, word } = expiry(until, clock.now.value, from === undefined ? undefined : until - from);
  return tone === "good" ? (
    <Age at={until} />
  ) : (
    <>
      <StatusWord tone={tone} word={word} /> <Age at={until} />
    </>
  );
}

function Nodes({ nodes, cluster }: { readonly nodes: readonly Node[]; readonly cluster: string }) {
  return (
    <Table
      caption="Nodes"
      rows={nodes}
      keyOf={({ node = "" }) => node}
      none="The record names no node, and no gateway has seen one."
      columns={[
        { title: "Node", cell: ({ node = "" }) => <a href={hrefs.node(cluster, node)}>{node}</a> },
        { title: "Condition", cell: ({ condition }) => <StatusWord {...nodeCondition(condition)} /> },
        { title: "Last seen", cell: ({ lastSeen }) => <Age at={lastSeen} none="never" /> },
        {
          title: "Phase then",
          isNumber: true,
          cell: ({ phase }) => (phase === undefined ? <Unknown /> : String(phase)),
        },
        { title: "Shim", cell: ({ shimVersion = "" }) => (shimVersion === "" ? <Unknown /> : shimVersion) },
        { title: "Certificate ends", cell: (node) => <NodeExpiry node={node} /> },
        {
          title: "Settings",
          cell: ({ configHash = "" }) => (configHash === "" ? <Unknown /> : <code>{configHash}</code>),
        },
        { title: "By gateway", cell: ({ gateway = "" }) => (gateway === "" ? <Unknown /> : gateway) },
      ]}
    />
  );
}

export function ClusterPage({ name }: { readonly name: string }) {
  const store = useStore();
  const state = useResource(store.cluster(name));
  const nodes = useResource(store.nodes(name));
  const { value, at } = state;
  return (
    <Page
      title={name}
      head={
        value !== undefined && (
          <>
            <StatusWord {...clusterState(value.state)} />
            <ReadAge at={at} />
            <Actions actions={clusterActions(value)} />
          </>
        )
      }
    >
      <p class="crumbs">
        <a href={hrefs.page("fleet")}>Fleet</a>
      </p>
      <Failure state={state} />
      <Section title="Nodes" state={nodes}>
        {({ nodes: all = [], incomplete, nextPageToken = "" }) => (
          <>
            <Incomplete text={incomplete} />
            <Nodes nodes={all} cluster={name} />
            {nextPageToken !== "" && <p class="muted">There are more nodes than are shown here.</p>}
          </>
        )}
      </Section>
      <ClusterKey name={name} />
      <ClusterKeyIds name={name} />
      <HistorySection title="Calls" of={{ cluster: name }}>
        {(history) => (
          <>
            <Chart title="Calls" unit="a second" data={ratesOf(history, ({ calls }) => calls)} />
            <Chart
              title="Calls that were not served, by reason"
              unit="a second"
              data={ratesOf(history, ({ refusals }) => refusals)}
            />
          </>
        )}
      </HistorySection>
      <Section title="Record" state={state}>
        {(cluster) => <Record cluster={cluster} />}
      </Section>
      <Panel title="Changes">
        <Records
          search={{ target: name, methods: changeMethods, pageSize: 50 }}
          version={value?.etag ?? ""}
          none="No change of it stands in the audit records of this replica."
        />
      </Panel>
    </Page>
  );
}
