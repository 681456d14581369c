// A section with charts over the last hour or month.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Reply } from "../api/json.ts";
import type { HistoryOf } from "../data/store.ts";
import { ratesOf } from "../model/history.ts";
import { Chart } from "./chart.tsx";
import { Incomplete, Section } from "./loaded.tsx";
import { useResource, useStore } from "./use-store.ts";

const periods = { hour: "Last hour", month: "Last month" } as const;
type Period = keyof typeof periods;

/** What was asked, and what was not served. */
export function CallCharts({ history }: { readonly history: Reply<"getHistory"> }) {
  return (
    <>
      <Chart title="Calls" unit="a second" data={ratesOf(history, ({ calls }) => calls)} />
      <Chart title="Calls that were not served" unit="a second" data={ratesOf(history, ({ refusals }) => refusals)} />
    </>
  );
}

export function HistorySection({
  title,
  of,
  children,
}: {
  readonly title: string;
  readonly of: Omit<HistoryOf, "period">;
  readonly children: (history: Reply<"getHistory">, period: Period) => ComponentChildren;
}) {
  const [period, setPeriod] = useState<Period>("hour");
  const state = useResource(useStore().history({ ...of, period }));
  return (
    <Section
      title={title}
      state={state}
      extra={
        <div class="choice" role="group" aria-label="Period">
          {(Object.keys(periods) as readonly Period[]).map((name) => (
            <button
              type="button"
              key={name}
              class="small"
              aria-pressed={name === period}
              onClick={() => setPeriod(name)}
            >
              {periods[name]}
            </button>
          ))}
        </div>
      }
    >
      {(history) => (
        <>
          <Incomplete text={history.incomplete} />
          <div class="charts">{children(history, period)}</div>
        </>
      )}
    </Section>
  );
}
