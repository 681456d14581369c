// What needs a person, the most urgent first.
import type { Attention } from "../api/json.ts";
import { attentionTitle, attentionWords } from "../model/attention.ts";
import { plural } from "../model/count.ts";
import { hrefOfTarget, hrefs } from "../model/route.ts";
import { severity } from "../model/tone.ts";
import { Command } from "../view/command.tsx";
import { Failure, Incomplete, Notice, ReadAge } from "../view/loaded.tsx";
import { Page } from "../view/page.tsx";
import { Age, StatusWord } from "../view/status.tsx";
import { useResource, useStore } from "../view/use-store.ts";

function Item({ item }: { readonly item: Attention }) {
  const { kind, target = "", cause = "", since, command = "" } = item;
  const href = hrefOfTarget(target, kind);
  const { tone } = severity(item.severity);
  return (
    <li class={`attention ${tone}`}>
      <div class="attention-head">
        <StatusWord {...severity(item.severity)} />
        <h3>
          {attentionTitle(kind)}: {href === undefined ? target : <a href={href}>{target}</a>}
        </h3>
        <span class="age">
          since <Age at={since} none="an unknown time" />
        </span>
      </div>
      <p>{cause}</p>
      {command !== "" && <Command text={command} />}
    </li>
  );
}

function Waiting() {
  const { approvals } = useStore();
  const { value = [] } = useResource(approvals);
  const waiting = value.filter(({ state }) => state === "pending");
  if (waiting.length === 0) return null;
  return (
    <Notice tone="note">
      <a href={hrefs.page("changes")}>{plural(waiting.length, "change")}</a> {waiting.length === 1 ? "waits" : "wait"}{" "}
      for a second administrator.
    </Notice>
  );
}

export function AttentionPage() {
  const { status } = useStore();
  const state = useResource(status);
  const { value, at, failure } = state;
  const items = value?.attention ?? [];
  const total = value?.attentionTotal ?? 0;
  const isAll = failure === undefined && (value?.incomplete ?? "") === "";
  return (
    <Page title="Attention" head={<ReadAge at={at} />}>
      <Failure state={state} />
      <Incomplete text={value?.incomplete} />
      <Waiting />
      {value === undefined ? (
        <p class="muted">{failure === undefined ? "Reading …" : "What needs a person is not known."}</p>
      ) : (
        <section aria-label="What needs a person">
          <h2 class={items.length === 0 ? "calm" : ""}>
            {items.length === 0 ? (
              isAll ? (
                <StatusWord tone="good" word={attentionWords(0)} />
              ) : (
                <StatusWord tone="unknown" word="Nothing that is known needs a person" />
              )
            ) : (
              attentionWords(total)
            )}
          </h2>
          <ol class="attention-list">
            {items.map((item) => (
              <Item item={item} key={`${item.kind ?? ""} ${item.target ?? ""} ${item.cause ?? ""}`} />
            ))}
          </ol>
          {total > items.length && <p class="muted">{plural(total - items.length, "more item")} not shown here.</p>}
        </section>
      )}
    </Page>
  );
}
