// A status: its shape, its colour and its word. And what else stands for a value: an age, a number, what is unknown.
import type { ComponentChildren } from "preact";
import { formatAge, formatTime, timeOf } from "../model/age.ts";
import { formatCount } from "../model/count.ts";
import type { Status } from "../model/tone.ts";
import { ToneIcon } from "./icon.tsx";
import { useStore } from "./use-store.ts";

export function StatusWord({ tone, word }: Status) {
  return (
    <span class={`status ${tone}`}>
      <ToneIcon tone={tone} />
      <span>{word}</span>
    </span>
  );
}

export function Unknown({ what = "unknown" }: { readonly what?: string }) {
  return <span class="unknown">{what}</span>;
}

/** How far the clock may be behind: its second, and that clocks agree in whole ones. */
const tickMs = 2000;

/** A time of the API, or Unix milliseconds, as an age; the exact time stands in its title. */
export function Age({ at, none = "unknown" }: { readonly at: string | number | undefined; readonly none?: string }) {
  const { clock } = useStore();
  const ms = typeof at === "number" ? at : timeOf(at);
  if (ms === undefined) return <Unknown what={none} />;
  const now = clock.now.value;
  // Between two seconds of this clock something may have happened already.
  const seen = ms > now && ms - now < tickMs ? now : ms;
  return (
    <time dateTime={new Date(ms).toISOString()} title={formatTime(ms)}>
      {formatAge(seen, now)}
    </time>
  );
}

export function Count({ value }: { readonly value: number | undefined }) {
  return value === undefined ? <Unknown /> : <span class="number">{formatCount(value)}</span>;
}

/** Terms and what they are. */
export function Facts({ rows }: { readonly rows: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {rows.map(([term, value]) => (
        <div key={term}>
          <dt>{term}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Labels({ labels }: { readonly labels: readonly string[] }) {
  if (labels.length === 0) return <span class="muted">none</span>;
  return (
    <span class="labels">
      {labels.map((label) => (
        <span class="label" key={label}>
          {label}
        </span>
      ))}
    </span>
  );
}
