// The names of servers, as this machine's resolver answers them.
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { type Check, CheckError, type Finding, type Found } from "@claviger/proto/runtime/check.ts";
import { codeOf } from "@claviger/proto/runtime/file-problem.ts";
import { cureOfConnection, describeConnection } from "@claviger/proto/runtime/network.ts";

/** Names that a cluster's own name server answers: it comes up after kube-apiserver does. */
const ofCluster = /(?:\.svc|\.svc\.[a-z0-9.-]+|\.cluster\.local)\.?$/;

async function look(host: string): Promise<Found<true>> {
  let addresses: readonly string[];
  try {
    addresses = (await lookup(host, { all: true })).map(({ address }) => address);
  } catch (error) {
    const code = codeOf(error) ?? "unknown error";
    throw new CheckError(describeConnection(code) ?? `it cannot be looked up (${code})`, cureOfConnection(code));
  }
  return { found: addresses.join(", "), value: true };
}

function circular(host: string): readonly Finding[] {
  if (!ofCluster.test(host)) return [];
  return [
    {
      verdict: "failed",
      found:
        "the name is one of a cluster's own name server, which needs the kube-apiserver that needs this node's shim",
      cure: "name the gateways by the network's name server, or by their addresses (docs/bootstrap.md)",
    },
  ];
}

/** Adds a row for each host that is a name. */
export async function checkNames(check: Check, id: string, urls: readonly string[]): Promise<void> {
  const hosts = [...new Set(urls.map((url) => new URL(url).hostname.replace(/^\[|\]$/g, "")))];
  const names = hosts.filter((host) => isIP(host) === 0);
  if (names.length === 0) check.add(id, { verdict: "ok", found: "there are addresses alone, and no name to look up" });
  await Promise.all(
    names.map(async (host) => {
      for (const finding of circular(host)) check.add(`${id} ${host}`, finding);
      await check.step(`${id} ${host}`, () => look(host));
    }),
  );
}
