// The audit records of the service: a search, and how the chain stands.
import { useState } from "preact/hooks";
import { type ApiError, toApiError } from "../api/failure.ts";
import type { AuditState, Request } from "../api/json.ts";
import { formatCount } from "../model/count.ts";
import { outcomeNames, type Status } from "../model/tone.ts";
import { changeMethods } from "../model/audit-methods.ts";
import { Command } from "../view/command.tsx";
import { Notice, Panel, Section } from "../view/loaded.tsx";
import { Page } from "../view/page.tsx";
import { Records } from "../view/records.tsx";
import { Age, Facts, StatusWord, Unknown } from "../view/status.tsx";
import { Table } from "../view/table.tsx";
import { useResource, useStore } from "../view/use-store.ts";

const results: Readonly<Record<string, Status>> = {
  good: { tone: "good", word: "what the service has written" },
  tampered: { tone: "critical", word: "tampered with" },
  unchecked: { tone: "unknown", word: "not everything could be checked" },
};

function Verification({ state: { verification } }: { readonly state: AuditState }) {
  if (verification === undefined) return <Unknown what="not verified since this replica started" />;
  const { result = "", at, records = 0, findings = [], findingsTotal = 0, unchecked = [] } = verification;
  return (
    <>
      <StatusWord {...(results[result] ?? { tone: "unknown", word: "unknown" })} />{" "}
      <span class="muted">
        {formatCount(records)} records, <Age at={at} />
      </span>
      {unchecked.map((text) => (
        <p key={text} class="muted">
          {text}
        </p>
      ))}
      {findings.length > 0 && (
        <Table
          caption="What nobody has written like this"
          rows={findings}
          keyOf={({ file = "", line = 0, kind = "" }) => `${file} ${line} ${kind}`}
          none=""
          columns={[
            { title: "Line", cell: ({ file = "", line = 0 }) => `${file}:${line}` },
            { title: "Kind", cell: ({ kind = "" }) => kind },
            { title: "What", cell: ({ text = "" }) => text },
          ]}
        />
      )}
      {findingsTotal > findings.length && <p class="muted">{findingsTotal - findings.length} more.</p>}
    </>
  );
}

function Chain() {
  const store = useStore();
  const state = useResource(store.audit);
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<ApiError>();
  const verify = async (): Promise<void> => {
    setBusy(true);
    setFailure(undefined);
    try {
      const verified = await store.api.call("getAuditState", { verify: true });
      store.audit.patch(() => verified);
      store.say("The audit records were verified");
    } catch (error) {
      setFailure(toApiError(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Section
      title="The chain of this replica"
      state={state}
      extra={
        <button type="button" class="small" disabled={isBusy} onClick={() => void verify()}>
          {isBusy ? "Verifying …" : "Verify now"}
        </button>
      }
    >
      {(audit) => (
        <>
          {failure !== undefined && <Notice tone="warning">{failure.message}</Notice>}
          <Facts
            rows={[
              ["Replica", audit.replica ?? <Unknown key="r" />],
              [
                "Newest record",
                audit.chain === undefined || audit.chain === "" ? (
                  <Unknown key="n" />
                ) : (
                  `${audit.sequence ?? "0"} of chain ${audit.chain}`
                ),
              ],
              [
                "Signed by Vault",
                audit.signedAt === undefined ? (
                  <Unknown key="s" what="not signed" />
                ) : (
                  <span key="s">
                    up to {audit.signedSequence ?? "0"}, <Age at={audit.signedAt} />
                  </span>
                ),
              ],
              ["Verified", <Verification key="v" state={audit} />],
              ["A call is answered only where a sink takes its record", audit.required === true ? "yes" : "no"],
              [
                "File",
                audit.file === undefined || audit.file === "" ? (
                  "none that this service can read"
                ) : (
                  <code key="f">{audit.file}</code>
                ),
              ],
            ]}
          />
          <Table
            caption="Sinks"
            rows={audit.sinks ?? []}
            keyOf={({ name = "" }) => name}
            none="There is no sink."
            columns={[
              { title: "Sink", cell: ({ name = "" }) => name },
              {
                title: "State",
                cell: ({ problem = "" }) =>
                  problem === "" ? (
                    <StatusWord tone="good" word="takes records" />
                  ) : (
                    <StatusWord tone="critical" word={problem} />
                  ),
              },
              { title: "Since", cell: ({ since }) => <Age at={since} none="start" /> },
              { title: "Missed", isNumber: true, cell: ({ missed = 0 }) => formatCount(missed) },
            ]}
          />
          {audit.file !== undefined && audit.file !== "" && <Command text={`claviger audit verify ${audit.file}`} />}
        </>
      )}
    </Section>
  );
}

const ages = { all: "all", "3600": "the last hour", "86400": "the last day", "604800": "the last week" } as const;

type Query = {
  readonly operator: string;
  readonly target: string;
  readonly method: string;
  readonly outcome: string;
  readonly age: string;
};
/** Pages read every second: what was changed is what somebody looks for. */
const usual: Query = { operator: "", target: "", method: "changes", outcome: "", age: "all" };

function searchOf({ operator, target, method, outcome, age }: Query, now: number): Request<"searchAudit"> {
  return {
    ...(operator !== "" && { operator }),
    ...(target !== "" && { target }),
    ...(method !== "" && { methods: method === "changes" ? changeMethods : [method] }),
    ...(outcome !== "" && { outcomes: [outcome] }),
    ...(age !== "all" && { since: new Date(now - Number(age) * 1000).toISOString() }),
  };
}

const otherMethods = ["whoAmI", "listClusters", "getCluster", "listNodes", "searchAudit", "watchEvents", "renewNode"];

export function AuditPage() {
  const { clock } = useStore();
  const [query, setQuery] = useState(usual);
  const [asked, setAsked] = useState({ search: searchOf(usual, 0), version: 0 });
  const set = (more: Partial<Query>): void => setQuery({ ...query, ...more });
  return (
    <Page title="Audit">
      <Panel title="Search">
        <>
          <form
            class="filters"
            role="search"
            aria-label="Audit records"
            onSubmit={(event) => {
              event.preventDefault();
              setAsked({ search: searchOf(query, clock.read()), version: asked.version + 1 });
            }}
          >
            <label>
              Operator
              <input
                value={query.operator}
                autocomplete="off"
                onInput={({ currentTarget }) => set({ operator: currentTarget.value.trim() })}
              />
            </label>
            <label>
              Cluster, or CLUSTER/NODE
              <input
                value={query.target}
                autocomplete="off"
                onInput={({ currentTarget }) => set({ target: currentTarget.value.trim() })}
              />
            </label>
            <label>
              Method
              <select value={query.method} onChange={({ currentTarget }) => set({ method: currentTarget.value })}>
                <option value="">all</option>
                <option value="changes">every change</option>
                {[...changeMethods, ...otherMethods].map((method) => (
                  <option key={method}>{method}</option>
                ))}
              </select>
            </label>
            <label>
              Outcome
              <select value={query.outcome} onChange={({ currentTarget }) => set({ outcome: currentTarget.value })}>
                <option value="">all</option>
                {outcomeNames.map((outcome) => (
                  <option key={outcome}>{outcome}</option>
                ))}
              </select>
            </label>
            <label>
              From
              <select value={query.age} onChange={({ currentTarget }) => set({ age: currentTarget.value })}>
                {Object.entries(ages).map(([age, word]) => (
                  <option key={age} value={age}>
                    {word}
                  </option>
                ))}
              </select>
            </label>
            <button type="submit" class="primary">
              Search
            </button>
          </form>
          <Records search={asked.search} version={asked.version} none="No record is like this." />
        </>
      </Panel>
      <Chain />
    </Page>
  );
}
