// A change that waits for a second administrator, in words.
import type { Approval } from "../api/json.ts";

/** What it is about. */
export function targetsOf({ targets = [] }: Approval): string {
  return targets.map(({ cluster = "" }) => cluster).join(", ");
}

const words: Readonly<Record<string, string>> = {
  resume: "serves or decrypts for a closed cluster again",
  "allow-node": "takes a revocation back",
  "expect-node": "lets in a node that is not on the list",
  "remove-cluster": "takes the cluster out of the registry",
  "retire-key": "lets earlier versions of the key decrypt nothing any more",
  "unretire-key": "lets retired versions of the key decrypt again",
};

export function effectsOf({ kinds = [] }: Approval): readonly string[] {
  return kinds.map((kind) => words[kind] ?? kind);
}

/** The request, a field a line; as it stands where it is no JSON. */
export function requestOf({ request = "" }: Approval): string {
  try {
    return JSON.stringify(JSON.parse(request), undefined, 2);
  } catch {
    return request;
  }
}
