// The parts of a site and what passes between them, each with its state. Each box is a link.
import type { Part, PartId } from "../model/parts.ts";

type Box = { readonly x: number; readonly y: number; readonly width: number };

const boxHeight = 74;
const boxes: Readonly<Record<PartId, Box>> = {
  nodes: { x: 10, y: 92, width: 220 },
  gateways: { x: 330, y: 92, width: 200 },
  backends: { x: 640, y: 12, width: 220 },
  registry: { x: 640, y: 100, width: 220 },
  redis: { x: 640, y: 188, width: 220 },
  audit: { x: 330, y: 222, width: 200 },
  fleet: { x: 10, y: 222, width: 220 },
};

const ways: readonly { readonly d: string; readonly text?: string; readonly x?: number; readonly y?: number }[] = [
  { d: "M230 129H324", text: "mutual TLS", x: 277, y: 120 },
  { d: "M530 115C580 110 590 55 634 50" },
  { d: "M530 131H634" },
  { d: "M530 147C580 155 590 220 634 224" },
  { d: "M430 166V216" },
  { d: "M120 222V172", text: "certificates", x: 162, y: 200 },
];

function BoxShape({ part: { id, title, status, lines, href } }: { readonly part: Part }) {
  const { x, y, width } = boxes[id];
  return (
    <a href={href} class={`part ${status.tone}`}>
      <rect x={x} y={y} width={width} height={boxHeight} rx="8" />
      <text class="part-title" x={x + 14} y={y + 22}>
        {title}
      </text>
      <text class="part-state" x={x + 14} y={y + 42} aria-hidden="true">
        {signs[status.tone]}
      </text>
      <text class="part-state" x={x + 32} y={y + 42}>
        {status.word}
      </text>
      <text class="part-line" x={x + 14} y={y + 60}>
        {shorten(lines.join(", "), Math.floor((width - 20) / 6.4))}
      </text>
    </a>
  );
}

const signs = { good: "✓", note: "ℹ", warning: "▲", critical: "✕", off: "‖", unknown: "?" } as const;

function shorten(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

export function Picture({ parts }: { readonly parts: readonly Part[] }) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="The parts of the site and their state">
      <svg class="picture" viewBox="0 0 872 308" role="presentation">
        <defs>
          <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
            <path d="M0 0 8 4 0 8Z" class="arrow-head" />
          </marker>
        </defs>
        <g aria-hidden="true">
          {ways.map(({ d, text, x, y }) => (
            <g key={d}>
              <path class="way" d={d} marker-end="url(#arrow)" />
              {text !== undefined && (
                <text class="way-text" x={x} y={y} text-anchor="middle">
                  {text}
                </text>
              )}
            </g>
          ))}
        </g>
        {parts.map((part) => (
          <BoxShape part={part} key={part.id} />
        ))}
      </svg>
    </div>
  );
}
