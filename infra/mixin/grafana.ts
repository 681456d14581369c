// Makes a dashboard of Grafana's from a list of panels. Its builders are generated from Grafana's schema. The only
// file that imports them.
import * as dashboard from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TimeseriesBuilder } from "@grafana/grafana-foundation-sdk/timeseries";

export type Query = { readonly expr: string; readonly legend: string };
export type Panel = {
  readonly title: string;
  /** What it shows, where the title does not say it. */
  readonly description?: string;
  /** Of Grafana's: `s`, `reqps`, `percentunit`, `bytes`, `short`. */
  readonly unit: string;
  /** `number`: the value now. */
  readonly kind: "number" | "graph";
  readonly queries: readonly Query[];
};
export type Row = { readonly title: string; readonly panels: readonly Panel[] };
/** A variable that the reader chooses: the values of a label. */
export type Choice = { readonly name: string; readonly values: string };
export type Board = {
  readonly uid: string;
  readonly title: string;
  readonly choices: readonly Choice[];
  readonly rows: readonly Row[];
};

const source = { type: "prometheus", uid: "${datasource}" };
/** In a row; Grafana's grid is 24 wide. */
const sizes = { number: { span: 6, height: 4 }, graph: { span: 12, height: 8 } } as const;

function panelOf({ title, description = "", unit, kind, queries }: Panel) {
  const panel = kind === "number" ? new StatBuilder() : new TimeseriesBuilder().min(0);
  const { span, height } = sizes[kind];
  panel.title(title).description(description).unit(unit).datasource(source).span(span).height(height);
  for (const { expr, legend } of queries)
    panel.withTarget(new DataqueryBuilder().expr(expr).legendFormat(legend).datasource(source));
  return panel;
}

export function dashboardOf({ uid, title, choices, rows }: Board): dashboard.Dashboard {
  const builder = new dashboard.DashboardBuilder(title)
    .uid(uid)
    .tags(["claviger"])
    .refresh("30s")
    .time({ from: "now-6h", to: "now" })
    .withVariable(new dashboard.DatasourceVariableBuilder("datasource").label("Data source").type("prometheus"));
  for (const { name, values } of choices)
    builder.withVariable(
      new dashboard.QueryVariableBuilder(name)
        .label(name)
        .datasource(source)
        .query(values)
        .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
        .multi(true)
        .includeAll(true)
        .allValue(".*"),
    );
  for (const row of rows) {
    builder.withRow(new dashboard.RowBuilder(row.title));
    for (const panel of row.panels) builder.withPanel(panelOf(panel));
  }
  return builder.build();
}
