// A dispatcher whose items show in the request's trace: what the key backend took, queueing
// included.
import type { Tracing } from "@claviger/proto/runtime/tracing.ts";
import type { Dispatcher } from "./dispatch.ts";

export function traceDispatcher(dispatcher: Dispatcher, backend: string, tracing: Tracing): Dispatcher {
  const options = { kind: "client", attributes: { "claviger.backend": backend } } as const;
  return {
    wrap: (...args) => tracing.span("backend encrypt", options, () => dispatcher.wrap(...args)),
    unwrap: (...args) => tracing.span("backend decrypt", options, () => dispatcher.unwrap(...args)),
  };
}
