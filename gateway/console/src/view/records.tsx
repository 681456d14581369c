// Audit records of the service, page by page.
import { useEffect, useState } from "preact/hooks";
import { type ApiError, toApiError } from "../api/failure.ts";
import type { AuditRecord, Request } from "../api/json.ts";
import { hrefOfTarget } from "../model/route.ts";
import { auditOutcome } from "../model/tone.ts";
import { Incomplete, Notice } from "./loaded.tsx";
import { Age, StatusWord } from "./status.tsx";
import { type Cell, Table } from "./table.tsx";
import { useStore } from "./use-store.ts";

function whoOf({ operator = "", cluster = "", node = "", requestedBy = "" }: AuditRecord): string {
  const own = operator !== "" ? operator : node !== "" ? `${cluster}/${node}` : "";
  return requestedBy === "" || requestedBy === own ? own : `${own}, asked for by ${requestedBy}`;
}

function Target({ target }: { readonly target: string | undefined }) {
  const href = hrefOfTarget(target ?? "");
  return href === undefined ? <>{target ?? ""}</> : <a href={href}>{target}</a>;
}

const columns: readonly Cell<AuditRecord>[] = [
  { title: "When", cell: ({ at }) => <Age at={at} /> },
  { title: "Who", cell: whoOf },
  { title: "What", cell: ({ method = "", change = "" }) => (change === "" ? method : `${method}: ${change}`) },
  { title: "About", cell: ({ target }) => <Target target={target} /> },
  { title: "Outcome", cell: ({ outcome }) => <StatusWord {...auditOutcome(outcome)} /> },
  { title: "Reason", cell: ({ reason = "" }) => reason },
  { title: "Cause", cell: ({ cause = "" }) => cause },
  { title: "From", cell: ({ peer = "" }) => peer },
];

type Search = Request<"searchAudit">;
type Found = {
  readonly records: readonly AuditRecord[];
  readonly next: string;
  readonly incomplete: string;
  /** Whose records these are: several, where a balancer has sent one page to one and the next to another. */
  readonly replicas: readonly string[];
};

/** @param search asked anew whenever it says something else, or `version` changes */
export function Records({
  search,
  version = 0,
  none,
}: {
  readonly search: Search;
  readonly version?: number | string;
  readonly none: string;
}) {
  const { api } = useStore();
  const [found, setFound] = useState<Found>();
  const [failure, setFailure] = useState<ApiError>();
  const [isBusy, setBusy] = useState(false);
  const read = async (before: Found | undefined, signal?: AbortSignal): Promise<void> => {
    setBusy(true);
    try {
      const {
        records = [],
        nextPageToken = "",
        incomplete = "",
        replica = "",
      } = await api.call("searchAudit", { pageSize: 100, ...search, pageToken: before?.next ?? "" }, signal);
      const replicas = [...new Set([...(before?.replicas ?? []), replica])];
      setFound({ records: [...(before?.records ?? []), ...records], next: nextPageToken, incomplete, replicas });
      setFailure(undefined);
    } catch (error) {
      if (signal?.aborted !== true) setFailure(toApiError(error));
    } finally {
      setBusy(false);
    }
  };
  const text = JSON.stringify(search);
  useEffect(() => {
    const stop = new AbortController();
    void read(undefined, stop.signal);
    return () => stop.abort();
  }, [text, version]);
  return (
    <>
      {failure !== undefined && <Notice tone="warning">{failure.message}</Notice>}
      <Incomplete text={found?.incomplete} />
      {found === undefined ? (
        failure === undefined && <p class="muted">Reading …</p>
      ) : (
        <Table
          caption="Audit records"
          rows={found.records}
          columns={columns}
          keyOf={({ chain = "", sequence = "", at = "", method = "", peer = "" }) =>
            [chain, sequence, at, method, peer].join(" ")
          }
          none={found.next === "" ? none : "None among the newest; older ones were not looked at yet."}
        />
      )}
      {found !== undefined && (
        <p class="muted">
          {found.replicas.length === 1
            ? `These are the records of the replica ${found.replicas.join()}; another one has its own.`
            : `These are records of the replicas ${found.replicas.join(", ")}, with gaps: ask again.`}
        </p>
      )}
      {found !== undefined && found.next !== "" && (
        <div class="buttons">
          <button type="button" disabled={isBusy} onClick={() => void read(found)}>
            {isBusy ? "Reading …" : "Older records"}
          </button>
        </div>
      )}
    </>
  );
}
