// One shape for each tone, so that nothing is told by colour alone; and the few signs of buttons.
import type { Tone } from "../model/tone.ts";

const shapes: Readonly<Record<Tone, string>> = {
  // A disc with a tick; a disc; a triangle; an octagon; a pause; a diamond with a dot.
  good: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm3.4 5.2-4 4.3a.8.8 0 0 1-1.2 0L4.6 8.8l1.1-1.1 1.1 1.1 3.5-3.7Z",
  note: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm-.8 3h1.6v1.6H7.2Zm0 2.9h1.6V12H7.2Z",
  warning: "M8 1.2 15.4 14.5H.6ZM7.2 6v4h1.6V6Zm0 5v1.6h1.6V11Z",
  critical:
    "M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1Zm.6 3.6L4.6 5.7 6.9 8l-2.3 2.3 1.1 1.1L8 9.1l2.3 2.3 1.1-1.1L9.1 8l2.3-2.3-1.1-1.1L8 6.9Z",
  off: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1ZM5.2 5h2v6h-2Zm3.6 0h2v6h-2Z",
  unknown: "M8 .6 15.4 8 8 15.4.6 8Zm0 2.5L3.1 8 8 12.9 12.9 8Zm0 3.1a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6Z",
};

export function ToneIcon({ tone }: { readonly tone: Tone }) {
  return (
    <svg class="tone-icon" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" focusable="false">
      <path d={shapes[tone]} fill="currentColor" fill-rule="evenodd" />
    </svg>
  );
}
