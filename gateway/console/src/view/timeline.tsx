// Which node showed which key_id when: a row of bars for each node, and the same as a table.
import { formatAge, formatTime } from "../model/age.ts";
import type { Bar, Timeline } from "../model/timeline.ts";
import { Table } from "./table.tsx";
import { useStore } from "./use-store.ts";

const size = { left: 150, width: 760, row: 26 } as const;

function nameOf({ version, keyId }: Bar): string {
  return version === 0 ? keyId.slice(0, 14) : `v${version}`;
}

function BarShape({ bar, y }: { readonly bar: Bar; readonly y: number }) {
  const width = bar.width * size.width;
  const x = size.left + bar.start * size.width;
  return (
    <g class={bar.isCurrent ? "bar current" : "bar"}>
      <rect x={x} y={y + 4} width={width} height={size.row - 8} rx="3" />
      {width > 30 && (
        <text x={x + 6} y={y + size.row / 2 + 4}>
          {nameOf(bar)}
        </text>
      )}
    </g>
  );
}

export function TimelineView({ timeline: { from, until, nodes } }: { readonly timeline: Timeline }) {
  const { clock } = useStore();
  if (nodes.length === 0) return <p class="muted">No gateway has shown a key_id to a node that is known of.</p>;
  const height = nodes.length * size.row;
  const rows = nodes.flatMap(({ node, bars }) => bars.map((bar) => ({ node, bar })));
  return (
    <>
      <svg
        class="timeline"
        viewBox={`0 0 ${size.left + size.width} ${height + 22}`}
        aria-hidden="true"
        focusable="false"
      >
        {nodes.map(({ node, bars }, i) => (
          <g key={node}>
            <text class="name" x="0" y={i * size.row + size.row / 2 + 4}>
              {node.length > 20 ? `${node.slice(0, 19)}…` : node}
            </text>
            <path class="base" d={`M${size.left} ${(i + 0.5) * size.row}h${size.width}`} />
            {bars.map((bar) => (
              <BarShape key={`${bar.keyId}/${bar.from}`} bar={bar} y={i * size.row} />
            ))}
          </g>
        ))}
        <text class="scale" x={size.left} y={height + 16}>
          {formatAge(from, clock.now.value)}
        </text>
        <text class="scale" x={size.left + size.width} y={height + 16} text-anchor="end">
          {formatAge(until, Math.max(until, clock.now.value))}
        </text>
      </svg>
      <details>
        <summary>As a table</summary>
        <Table
          caption="Which node showed which key_id when"
          rows={rows}
          none=""
          keyOf={({ node, bar }) => `${node}/${bar.keyId}/${bar.from}`}
          columns={[
            { title: "Node", cell: ({ node }) => node },
            { title: "Version", cell: ({ bar }) => (bar.version === 0 ? "unknown" : `v${bar.version}`) },
            { title: "key_id", cell: ({ bar }) => <code>{bar.keyId}</code> },
            { title: "Is shown now", cell: ({ bar }) => (bar.isCurrent ? "yes" : "no") },
            { title: "First shown", cell: ({ bar }) => formatTime(bar.from) },
            { title: "Last shown", cell: ({ bar }) => formatTime(bar.until) },
            {
              title: "Last decrypted under",
              cell: ({ bar }) => (bar.decryptedUntil === undefined ? "never seen" : formatTime(bar.decryptedUntil)),
            },
          ]}
        />
      </details>
    </>
  );
}
