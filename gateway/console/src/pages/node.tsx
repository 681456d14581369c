// One node: how it was when it was last seen, its certificate, and what was done about it.
import type { Node } from "../api/json.ts";
import { nodeActions } from "../model/action.ts";
import { formatSpan, timeOf } from "../model/age.ts";
import { hrefs } from "../model/route.ts";
import { expiry, nodeCondition, outagePhase } from "../model/tone.ts";
import { Actions } from "../view/action-dialog.tsx";
import { Failure, Panel, Section } from "../view/loaded.tsx";
import { Page } from "../view/page.tsx";
import { Records } from "../view/records.tsx";
import { Age, Facts, StatusWord, Unknown } from "../view/status.tsx";
import { useResource, useStore } from "../view/use-store.ts";

function said(text: string | undefined) {
  return text === undefined || text === "" ? <Unknown /> : <code>{text}</code>;
}

function Details({ node }: { readonly node: Node }) {
  const { clock } = useStore();
  const { lastOutage, secondsSinceGood } = node;
  const from = timeOf(node.certificateNotBefore);
  const until = timeOf(node.certificateNotAfter);
  const life = from === undefined || until === undefined ? undefined : until - from;
  return (
    <Facts
      rows={[
        ["Last seen", <Age key="s" at={node.lastSeen} none="never" />],
        ["By gateway", said(node.gateway)],
        ["Is it one of the nodes that the record lists?", node.expected === true ? "yes" : "no"],
        ["Version of the shim", said(node.shimVersion)],
        ["Phase of an outage then", <StatusWord key="p" {...outagePhase(node.phase)} />],
        [
          "A gateway had confirmed its key",
          secondsSinceGood === undefined ? (
            <Unknown key="g" />
          ) : (
            `${formatSpan(Number(secondsSinceGood) * 1000)} before`
          ),
        ],
        [
          "Last outage",
          lastOutage === undefined ? (
            "none since the shim was started"
          ) : (
            <span key="o">
              phase {lastOutage.phase ?? 0} for {formatSpan(Number(lastOutage.seconds ?? 0) * 1000)}, ended{" "}
              <Age at={lastOutage.endedAt} />
            </span>
          ),
        ],
        ["key_id", said(node.keyId)],
        ["Settings (hash)", said(node.configHash)],
        ["Serial number of its certificate", said(node.certificateSerial)],
        [
          "Certificate ends",
          <span key="e">
            <StatusWord {...expiry(until, clock.now.value, life)} /> {until !== undefined && <Age at={until} />}
          </span>,
        ],
      ]}
    />
  );
}

export function NodePage({ cluster, node: name }: { readonly cluster: string; readonly node: string }) {
  const store = useStore();
  const state = useResource(store.node(cluster, name));
  const { value } = state;
  return (
    <Page
      title={`${cluster}/${name}`}
      head={
        value !== undefined && (
          <>
            <StatusWord {...nodeCondition(value.condition)} />
            <Actions actions={nodeActions(value)} />
          </>
        )
      }
    >
      <p class="crumbs">
        <a href={hrefs.page("fleet")}>Fleet</a> › <a href={hrefs.cluster(cluster)}>{cluster}</a>
      </p>
      {value === undefined && <Failure state={state} />}
      <Section title="What is known of it" state={state}>
        {(node) => <Details node={node} />}
      </Section>
      <Panel title="Records about it">
        <Records
          search={{ target: `${cluster}/${name}`, pageSize: 50 }}
          version={value?.revoked === true ? 1 : 0}
          none="None stands in the audit records of this replica."
        />
      </Panel>
    </Page>
  );
}
