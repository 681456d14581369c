// Names to addresses by way of the system's resolver, which takes a thread for as long as it asks: a name
// server that is silent for five seconds must not use them all up. (docs/architecture.md #endpoints.)
import { lookup as systemLookup } from "node:dns";
import type { LookupFunction } from "node:net";

type Callback = Parameters<LookupFunction>[2];

/** Look-ups of one name at the same time are one. For `net.connect` and `tls.connect`. */
export function createLookup(lookup: LookupFunction = systemLookup): LookupFunction {
  const waiting = new Map<string, Callback[]>();
  return (name, options, callback) => {
    const id = JSON.stringify([name, options.family, options.hints, options.all, options.order]);
    const others = waiting.get(id);
    if (others !== undefined) return void others.push(callback);
    const callbacks = [callback];
    waiting.set(id, callbacks);
    return lookup(name, options, (...found) => {
      waiting.delete(id);
      for (const tell of callbacks) tell(...found);
    });
  };
}
