// What waits for a second administrator, what was decided, what happens now, and what was changed.
import type { Approval, FleetEvent } from "../api/json.ts";
import { approvalActions } from "../model/action.ts";
import { changeMethods } from "../model/audit-methods.ts";
import { effectsOf, requestOf, targetsOf } from "../model/change.ts";
import { operatorOf } from "../model/role.ts";
import { hrefOfTarget, hrefs } from "../model/route.ts";
import { approvalState } from "../model/tone.ts";
import { Actions } from "../view/action-dialog.tsx";
import { Failure, Panel, Section } from "../view/loaded.tsx";
import { Page } from "../view/page.tsx";
import { Records } from "../view/records.tsx";
import { Age, Facts, StatusWord } from "../view/status.tsx";
import { type Cell, Table } from "../view/table.tsx";
import { useResource, useStore } from "../view/use-store.ts";

function ApprovalButtons({ approval }: { readonly approval: Approval }) {
  const { who } = useStore();
  const operator = operatorOf(who.state.value.value?.identity ?? "");
  return <Actions actions={approvalActions(approval, operator)} />;
}

const pendingColumns: readonly Cell<Approval>[] = [
  { title: "Change", cell: ({ id = "", method = "" }) => <a href={hrefs.change(id)}>{method}</a> },
  { title: "Of", cell: targetsOf },
  { title: "What it does", cell: (approval) => effectsOf(approval).join("; ") },
  { title: "Asked for by", cell: ({ requestedBy = "" }) => requestedBy },
  { title: "Reason", cell: ({ reason = "" }) => reason },
  { title: "Asked", cell: ({ requestedAt }) => <Age at={requestedAt} /> },
  { title: "Ends", cell: ({ expiresAt }) => <Age at={expiresAt} /> },
  { title: "Decide", cell: (approval) => <ApprovalButtons approval={approval} /> },
];

const decidedColumns: readonly Cell<Approval>[] = [
  { title: "Change", cell: ({ id = "", method = "" }) => <a href={hrefs.change(id)}>{method}</a> },
  { title: "Of", cell: targetsOf },
  { title: "State", cell: ({ state }) => <StatusWord {...approvalState(state)} /> },
  { title: "Asked for by", cell: ({ requestedBy = "" }) => requestedBy },
  { title: "Decided by", cell: ({ decidedBy = "" }) => decidedBy },
  { title: "Decided", cell: ({ decidedAt }) => <Age at={decidedAt} none="never" /> },
  { title: "Note", cell: ({ note = "" }) => note },
];

const eventColumns: readonly Cell<FleetEvent>[] = [
  { title: "When", cell: ({ at }) => <Age at={at} /> },
  {
    title: "What",
    cell: ({ kind = "", phase, previousPhase }) =>
      phase === undefined ? kind : `${kind}: phase ${previousPhase === undefined ? "" : `${previousPhase} → `}${phase}`,
  },
  {
    title: "Of",
    cell: ({ cluster = "", node = "" }) => {
      const target = node === "" ? cluster : `${cluster}/${node}`;
      const href = hrefOfTarget(target);
      return href === undefined ? target : <a href={href}>{target}</a>;
    },
  },
  { title: "Who", cell: ({ operator = "" }) => operator },
  { title: "Why", cell: ({ reason = "" }) => reason },
];

export function ChangesPage() {
  const store = useStore();
  const state = useResource(store.approvals);
  const events = store.events.value;
  return (
    <Page title="Changes and approvals">
      <Section title="Waiting for a second administrator" state={state}>
        {(approvals) => (
          <Table
            caption="Changes that wait"
            rows={approvals.filter((one) => one.state === "pending")}
            columns={pendingColumns}
            keyOf={({ id = "" }) => id}
            none="Nothing waits."
          />
        )}
      </Section>
      <Section title="Decided in the last seven days" state={state}>
        {(approvals) => (
          <Table
            caption="Changes that were decided"
            rows={approvals.filter((one) => one.state !== "pending")}
            columns={decidedColumns}
            keyOf={({ id = "" }) => id}
            none="Nothing was."
          />
        )}
      </Section>
      <Panel title="As it happens">
        <Table
          caption="What has happened since this page was opened"
          rows={events}
          columns={eventColumns}
          keyOf={({ cursor = "", kind = "" }) => `${cursor} ${kind}`}
          none="Nothing has happened since this page was opened."
        />
      </Panel>
      <Panel title="What was changed">
        <Records
          search={{ methods: changeMethods, outcomes: ["ok"], pageSize: 50 }}
          version={events.length}
          none="No change stands in the audit records of this replica."
        />
      </Panel>
    </Page>
  );
}

export function ChangePage({ id }: { readonly id: string }) {
  const store = useStore();
  const state = useResource(store.approvals);
  const approval = state.value?.find((one) => one.id === id);
  return (
    <Page
      title={approval === undefined ? "Change" : `${approval.method ?? ""} of ${targetsOf(approval)}`}
      head={
        approval !== undefined && (
          <>
            <StatusWord {...approvalState(approval.state)} />
            <ApprovalButtons approval={approval} />
          </>
        )
      }
    >
      <p class="crumbs">
        <a href={hrefs.page("changes")}>Changes and approvals</a>
      </p>
      {state.value === undefined && <Failure state={state} />}
      <Section title="What is asked for" state={state}>
        {() =>
          approval === undefined ? (
            <p>It is not there, is older than seven days, or is none of yours.</p>
          ) : (
            <>
              <Facts
                rows={[
                  ["What it does", effectsOf(approval).join("; ")],
                  ["Asked for by", approval.requestedBy ?? ""],
                  ["Reason", approval.reason ?? ""],
                  ["Asked", <Age key="a" at={approval.requestedAt} />],
                  ["Ends", <Age key="e" at={approval.expiresAt} />],
                  ["Decided by", approval.decidedBy ?? "nobody yet"],
                  ["Note", approval.note ?? ""],
                ]}
              />
              <h3>The request as it will be made</h3>
              <pre tabIndex={0}>{requestOf(approval)}</pre>
            </>
          )
        }
      </Section>
    </Page>
  );
}
