// Keys of all clusters: which version encrypts, how old it is, what is broken; and each version of a page of them.
import { useEffect, useState } from "preact/hooks";
import { type ApiError, toApiError } from "../api/failure.ts";
import type { ClusterKeys } from "../api/json.ts";
import { formatSpan, timeOf } from "../model/age.ts";
import { formatCount, plural } from "../model/count.ts";
import { hrefs } from "../model/route.ts";
import type { FleetRow } from "../model/row.ts";
import { versionState } from "../model/tone.ts";
import { Incomplete, Section } from "../view/loaded.tsx";
import { Page } from "../view/page.tsx";
import { Age, Facts, StatusWord, Unknown } from "../view/status.tsx";
import { Table } from "../view/table.tsx";
import { useResource, useStore } from "../view/use-store.ts";

/** Versions that a row shows, the newest first. */
const mostVersions = 8;
const mostBroken = 200;

function Wrong({ rows }: { readonly rows: readonly FleetRow[] }) {
  const { clock } = useStore();
  return (
    <Table
      caption="Keys that are broken or too old"
      rows={rows.slice(0, mostBroken)}
      keyOf={({ name }) => name}
      none="None that is known of."
      columns={[
        { title: "Cluster", cell: ({ name }) => <a href={hrefs.cluster(name)}>{name}</a> },
        {
          title: "What is wrong",
          cell: ({ keyFailing, isKeyOld, keyVersion = 0, keyLatest = 0 }) => (
            <>
              {keyFailing !== "" && <StatusWord tone="critical" word={`${keyFailing} failed at the last try`} />}{" "}
              {isKeyOld && <StatusWord tone="warning" word="older than the policy allows" />}{" "}
              {keyLatest > keyVersion && <StatusWord tone="note" word={`v${keyLatest} waits for its promotion`} />}
            </>
          ),
        },
        { title: "Encrypts", cell: ({ keyVersion }) => (keyVersion === undefined ? <Unknown /> : `v${keyVersion}`) },
        {
          title: "Age",
          cell: ({ keyCreated }) => (keyCreated === undefined ? <Unknown /> : formatSpan(clock.now.value - keyCreated)),
        },
        { title: "Read by a gateway", cell: ({ keyRead }) => <Age at={keyRead} /> },
      ]}
    />
  );
}

function isWrong({ keyFailing, isKeyOld, keyVersion, keyLatest }: FleetRow): boolean {
  return (
    keyFailing !== "" || isKeyOld || (keyVersion !== undefined && keyLatest !== undefined && keyLatest > keyVersion)
  );
}

function Summary() {
  const { fleet, clock } = useStore();
  const state = useResource(fleet);
  const rows = state.value?.rows ?? [];
  const known = rows.filter(({ keyVersion }) => keyVersion !== undefined);
  const oldest = known.reduce<number | undefined>(
    (least, { keyCreated }) => (keyCreated === undefined ? least : Math.min(least ?? keyCreated, keyCreated)),
    undefined,
  );
  const wrong = rows.filter(isWrong);
  return (
    <Section title="What gateways know of the keys" state={state}>
      {({ incomplete, isWhole }) => (
        <>
          <Incomplete text={incomplete} />
          <Facts
            rows={[
              ["Clusters", `${formatCount(rows.length)}${isWhole ? "" : ", reading more …"}`],
              ["Keys that no gateway has read in the last ten minutes", formatCount(rows.length - known.length)],
              ["Fails at the last try", formatCount(rows.filter(({ keyFailing }) => keyFailing !== "").length)],
              ["Older than the policy allows", formatCount(rows.filter(({ isKeyOld }) => isKeyOld).length)],
              [
                "Oldest version that encrypts",
                oldest === undefined ? <Unknown key="o" /> : formatSpan(clock.now.value - oldest),
              ],
            ]}
          />
          <h3>Broken, too old, or waiting</h3>
          <Wrong rows={wrong} />
          {wrong.length > mostBroken && (
            <p class="muted">{plural(wrong.length - mostBroken, "more")} not shown here.</p>
          )}
        </>
      )}
    </Section>
  );
}

function Versions({ keys: { versions = [], problem = "" } }: { readonly keys: ClusterKeys }) {
  if (problem !== "") return <StatusWord tone="unknown" word={problem} />;
  const newest = versions.toReversed();
  return (
    <ul class="versions">
      {newest.slice(0, mostVersions).map(({ version = 0, state }) => {
        const { tone, word } = versionState(state);
        return (
          <li key={version} class={`version ${tone}`}>
            v{version} {word}
          </li>
        );
      })}
      {newest.length > mostVersions && <li class="muted">{newest.length - mostVersions} earlier</li>}
    </ul>
  );
}

function ageOf({ promoted = 0, versions = [] }: ClusterKeys, now: number): string | undefined {
  const made = timeOf(versions.find(({ version }) => version === promoted)?.createdAt);
  return made === undefined ? undefined : formatSpan(now - made);
}

type Found = { readonly keys: readonly ClusterKeys[]; readonly next: string; readonly at: number };

/** Each page costs a call to the backend for each of its clusters: it is read when it is asked for. */
function Matrix() {
  const { api, clock } = useStore();
  const [selector, setSelector] = useState("");
  const [asked, setAsked] = useState({ selector: "", pageToken: "" });
  const [found, setFound] = useState<Found>();
  const [failure, setFailure] = useState<ApiError>();
  useEffect(() => {
    const stop = new AbortController();
    api.call("listKeys", { pageSize: 50, ...asked }, stop.signal).then(
      ({ keys = [], nextPageToken = "" }) => {
        setFound({ keys, next: nextPageToken, at: clock.read() });
        setFailure(undefined);
      },
      (error: unknown) => {
        if (!stop.signal.aborted) setFailure(toApiError(error));
      },
    );
    return () => stop.abort();
  }, [asked]);
  return (
    <Section title="Versions by cluster" state={{ value: true, at: found?.at, failure }}>
      {() => (
        <>
          <form
            class="filters"
            role="search"
            aria-label="Keys"
            onSubmit={(event) => {
              event.preventDefault();
              setAsked({ selector, pageToken: "" });
            }}
          >
            <label>
              Labels
              <input
                type="search"
                value={selector}
                placeholder="team=payments,env!=dev"
                onInput={({ currentTarget }) => setSelector(currentTarget.value)}
              />
            </label>
            <button type="submit">Show</button>
          </form>
          {found === undefined ? (
            failure === undefined && <p class="muted">Reading …</p>
          ) : (
            <Table
              caption="Versions of keys by cluster"
              rows={found.keys}
              keyOf={({ cluster = "" }) => cluster}
              none="No cluster has these labels."
              columns={[
                { title: "Cluster", cell: ({ cluster = "" }) => <a href={hrefs.cluster(cluster)}>{cluster}</a> },
                { title: "Versions", cell: (keys) => <Versions keys={keys} /> },
                { title: "Age", cell: (keys) => ageOf(keys, clock.now.value) ?? <Unknown /> },
                {
                  title: "Policy",
                  cell: ({ warning = "", problem = "" }) =>
                    problem !== "" ? (
                      <Unknown />
                    ) : warning === "" ? (
                      <StatusWord tone="good" word="kept" />
                    ) : (
                      <StatusWord tone="warning" word={warning} />
                    ),
                },
                { title: "Rotation", cell: ({ rotation = "" }) => (rotation === "" ? <Unknown /> : rotation) },
                {
                  title: "Key",
                  cell: ({ key }) => <code>{key === undefined ? "" : `${key.mount ?? ""}/${key.key ?? ""}`}</code>,
                },
              ]}
            />
          )}
          <div class="buttons">
            {asked.pageToken !== "" && (
              <button type="button" onClick={() => setAsked({ ...asked, pageToken: "" })}>
                First page
              </button>
            )}
            {found !== undefined && found.next !== "" && (
              <button type="button" onClick={() => setAsked({ ...asked, pageToken: found.next })}>
                Next page
              </button>
            )}
          </div>
        </>
      )}
    </Section>
  );
}

export function KeysPage() {
  return (
    <Page title="Keys">
      <Summary />
      <Matrix />
    </Page>
  );
}
