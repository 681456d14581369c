// Frames for what is read from the service: a section with the age of what it shows, what is missing from it, and
// why it could not be read.
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import type { Loaded } from "../data/resource.ts";
import { Age } from "./status.tsx";
import { ToneIcon } from "./icon.tsx";

export function Notice({
  tone,
  children,
}: {
  readonly tone: "note" | "warning" | "critical" | "unknown";
  readonly children: ComponentChildren;
}) {
  return (
    <p class={`notice ${tone}`}>
      <ToneIcon tone={tone} />
      <span>{children}</span>
    </p>
  );
}

export function Incomplete({ text }: { readonly text: string | undefined }) {
  return text === undefined || text === "" ? null : <Notice tone="unknown">This is not all: {text}</Notice>;
}

/** Why the last reading failed, and how old what stands here is. */
export function Failure({ state: { failure, at } }: { readonly state: Loaded<unknown> }) {
  if (failure === undefined) return null;
  return (
    <Notice tone="warning">
      {failure.message}
      {at !== undefined && (
        <>
          . What stands here was read <Age at={at} />.
        </>
      )}
    </Notice>
  );
}

/** @param extra stands beside the heading */
export function Panel({
  title,
  extra,
  isStale = false,
  children,
}: {
  readonly title: string;
  readonly extra?: ComponentChildren;
  readonly isStale?: boolean;
  readonly children: ComponentChildren;
}) {
  const id = useId();
  return (
    <section class={isStale ? "panel stale" : "panel"} aria-labelledby={id}>
      <header class="panel-head">
        <h2 id={id} tabIndex={-1}>
          {title}
        </h2>
        {extra}
      </header>
      {children}
    </section>
  );
}

/** When something was read. */
export function ReadAge({ at }: { readonly at: number | undefined }) {
  return at === undefined ? null : (
    <span class="age">
      read <Age at={at} />
    </span>
  );
}

/** A panel of what is read from the service. */
export function Section<T>({
  title,
  state,
  extra,
  children,
}: {
  readonly title: string;
  readonly state: Loaded<T>;
  readonly extra?: ComponentChildren;
  readonly children: (value: T) => ComponentChildren;
}) {
  const { value, at, failure } = state;
  const head = (
    <>
      {extra}
      <ReadAge at={at} />
    </>
  );
  return (
    <Panel title={title} extra={head} isStale={failure !== undefined}>
      <Failure state={state} />
      {value === undefined ? failure === undefined && <p class="muted">Reading …</p> : children(value)}
    </Panel>
  );
}
