// How a component comes to what it shows.
import { createContext } from "preact";
import { useContext, useEffect } from "preact/hooks";
import type { Loaded, Resource } from "../data/resource.ts";
import type { Store } from "../data/store.ts";

export const StoreContext = createContext<Store | undefined>(undefined);

export function useStore(): Store {
  const store = useContext(StoreContext);
  if (store === undefined) throw new TypeError("a component outside of the application");
  return store;
}

/** Reads it for as long as the component is there, at least so often. */
export function useResource<T>(resource: Resource<T>, everyMs?: number): Loaded<T> {
  useEffect(() => resource.follow(everyMs), [resource, everyMs]);
  return resource.state.value;
}
