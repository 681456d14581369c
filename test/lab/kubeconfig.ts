// How kubectl and other clients reach an apiserver of the lab.
import { type ApiServer, readToken } from "./kubernetes.ts";

/** An administrator's kubeconfig, as JSON. */
export function kubeconfig({ server, tokenFile }: ApiServer): string {
  const named = (kind: string, value: object): object => ({ name: "own", [kind]: value });
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "own",
    clusters: [named("cluster", { server, "insecure-skip-tls-verify": true })],
    users: [named("user", { token: readToken(tokenFile) })],
    contexts: [named("context", { cluster: "own", user: "own" })],
  });
}
