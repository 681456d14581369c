// A cluster's key: its versions, what was counted of them in etcd, and which node showed which key_id when.
import type { Cluster, ClusterKeys, KeyVersion } from "../api/json.ts";
import { keyActions } from "../model/action.ts";
import { formatCount, plural } from "../model/count.ts";
import { timelineOf } from "../model/timeline.ts";
import { versionState } from "../model/tone.ts";
import { Actions } from "../view/action-dialog.tsx";
import { Command } from "../view/command.tsx";
import { Incomplete, Notice, Section } from "../view/loaded.tsx";
import { Age, Facts, StatusWord, Unknown } from "../view/status.tsx";
import { type Cell, Table } from "../view/table.tsx";
import { TimelineView } from "../view/timeline.tsx";
import { useResource, useStore } from "../view/use-store.ts";

type KeyRef = NonNullable<Cluster["keys"]>[number];

/** Where a key is, in words. */
export function placeOf({ backend = "", namespace = "", mount = "", key = "" }: KeyRef): string {
  return `${backend}: ${namespace === "" ? "" : `${namespace}/`}${mount}/${key}`;
}

const versionColumns: readonly Cell<KeyVersion>[] = [
  { title: "Version", cell: ({ version = 0 }) => `v${version}` },
  { title: "State", cell: ({ state }) => <StatusWord {...versionState(state)} /> },
  { title: "Made", cell: ({ createdAt }) => <Age at={createdAt} /> },
  {
    title: "Objects in etcd",
    isNumber: true,
    cell: ({ objects }) => (objects === undefined ? <Unknown what="not counted" /> : formatCount(objects)),
  },
  {
    title: "Fails",
    cell: ({ failingAt = {} }) => {
      const all = Object.entries(failingAt).map(([gateway, what = ""]) => `${what} at ${gateway}`);
      return all.length === 0 ? "nowhere that is known of" : <StatusWord tone="critical" word={all.join(", ")} />;
    },
  },
];

function Counted({ keys: { counted } }: { readonly keys: ClusterKeys }) {
  if (counted === undefined) return null;
  const {
    countedAt,
    countedBy = "",
    fromSnapshot = false,
    otherObjects = 0,
    damaged = 0,
    unreadableObjects = 0,
  } = counted;
  return (
    <>
      <p class="muted">
        Counted <Age at={countedAt} /> by {countedBy}
        {fromSnapshot && ", in part in a snapshot, which lacks what was written later"}.
        {otherObjects > 0 && ` ${plural(otherObjects, "object")} of other keys or plugins.`}
        {damaged > 0 && ` ${plural(damaged, "value")} cannot be read.`}
      </p>
      {unreadableObjects > 0 && (
        <Notice tone="critical">
          {plural(unreadableObjects, "object")} need a version that decrypts nothing any more.
        </Notice>
      )}
    </>
  );
}

export function ClusterKey({ name }: { readonly name: string }) {
  const store = useStore();
  const state = useResource(store.keys(name));
  return (
    <Section title="Key" state={state} extra={<Actions actions={keyActions(name, state.value)} />}>
      {(keys) => (
        <>
          {keys.problem !== undefined && keys.problem !== "" && <Notice tone="unknown">{keys.problem}</Notice>}
          {keys.warning !== undefined && keys.warning !== "" && <Notice tone="warning">{keys.warning}</Notice>}
          <Facts
            rows={[
              ["Key", keys.key === undefined ? <Unknown key="k" /> : placeOf(keys.key)],
              [
                "key_id",
                keys.keyId === undefined || keys.keyId === "" ? <Unknown key="i" /> : <code key="i">{keys.keyId}</code>,
              ],
            ]}
          />
          <Incomplete text={keys.incomplete} />
          <Table
            caption="Versions of the key"
            rows={(keys.versions ?? []).toReversed()}
            keyOf={({ version = 0 }) => String(version)}
            none="No version is known."
            columns={versionColumns}
          />
          <Counted keys={keys} />
          <p class="muted">Objects are counted where etcd can be reached:</p>
          <Command text={`claviger key usage ${name} --etcd https://ETCD:2379`} />
        </>
      )}
    </Section>
  );
}

export function ClusterKeyIds({ name }: { readonly name: string }) {
  const store = useStore();
  const state = useResource(store.timeline(name));
  return (
    <Section title="Which node showed which key_id when" state={state}>
      {({ shown = [], currentKeyId = "", incomplete }) => (
        <>
          <Incomplete text={incomplete} />
          <TimelineView timeline={timelineOf(shown, currentKeyId, store.clock.now.value)} />
        </>
      )}
    </Section>
  );
}
