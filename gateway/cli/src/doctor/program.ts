// A gateway or fleet service that runs on this machine, by its second listener: whether it is ready, and what of its
// dependencies is not.
import { z } from "@claviger/proto/runtime/config.ts";
import type { Check } from "@claviger/proto/runtime/check.ts";
import { holderOf, type Own, ownerOf } from "@claviger/proto/runtime/ports.ts";
import { checkPrograms } from "../check-programs.ts";
import type { Machine } from "../commander.ts";
import { localUrl } from "../target.ts";
import { askReady } from "./ready.ts";

const readyReply = z.looseObject({ ready: z.boolean(), checks: z.optional(z.record(z.string(), z.string())) });
type Ready = z.infer<typeof readyReply>;

export type Running = {
  readonly url: URL;
  readonly state: Ready | undefined;
  /** Its ports may be held by the program that runs. */
  readonly own: Own;
};

/** Looks for the program at its second listener. */
export async function findRunning(
  admin: { readonly address: string; readonly port: number },
  machine: Machine,
): Promise<Running> {
  const url = localUrl(admin);
  const state = admin.port === 0 ? undefined : await askReady(url, readyReply);
  const isIt = state !== undefined;
  const script = isIt ? holderOf(admin.port)?.script : undefined;
  return { url, state, own: { pid: machine.pid, script, uid: isIt ? ownerOf(admin.port) : undefined } };
}

/**
 * Adds rows of what the program says itself.
 * @param id of the check
 * @param name of the program, for messages
 */
export async function checkRunning(check: Check, id: string, { url, state }: Running, name: string): Promise<void> {
  if (state === undefined)
    return check.add(id, {
      verdict: "warning",
      found: `no ${name} answers at ${url.origin}`,
      cure: `start ${name}, once no other row fails; its log says why it ends`,
    });
  const bad = Object.entries(state.checks ?? {}).filter(
    ([role, text]) => text !== "ok" && !role.startsWith("certificate/"),
  );
  if (state.ready) check.add(id, { verdict: "ok", found: `${name} is ready` });
  for (const [role, text] of bad)
    check.add(id, {
      verdict: state.ready ? "warning" : "failed",
      found: `${role}: ${text}`,
      cure: "the row of this dependency says more; docs/edges.md has what each fault looks like",
    });
  if (!state.ready && bad.length === 0) check.add(id, { verdict: "failed", found: `${name} is not ready` });
  // A fleet service says nothing of certificates there.
  const hasCertificates = Object.keys(state.checks ?? {}).some((role) => role.startsWith("certificate/"));
  const rows = hasCertificates ? await checkPrograms([url]) : [];
  for (const { verdict, found, cure } of rows) check.add(id, { verdict, found, cure });
}
