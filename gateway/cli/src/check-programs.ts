// What a shim or a gateway says of its certificates, and of the handshakes that failed, on its second
// listener: a socket says nothing of them.
import { z } from "@claviger/proto/runtime/config.ts";
import { CheckError, type CheckRow, createCheck, type Finding, type Found } from "@claviger/proto/runtime/check.ts";
import { describeExpiry } from "@claviger/proto/runtime/expiry.ts";
import { describeHandshakeFailure, parseHandshakeFailure } from "@claviger/proto/wire/handshakes.ts";
import { codeOf } from "@claviger/proto/runtime/file-problem.ts";
import { connectionProblem } from "./outside.ts";

/** A shim names its certificates by themselves, a gateway among its checks. */
const readyReply = z.object({
  certificates: z.optional(z.record(z.string(), z.string())),
  checks: z.optional(z.record(z.string(), z.string())),
});

type Sample = { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly value: number };

/** The samples of a page in the text format of Prometheus. */
function samplesOf(page: string): readonly Sample[] {
  return [...page.matchAll(/^(claviger_\w+)\{([^}]*)\} (\S+)/gm)].map(([, name = "", labels = "", value]) => ({
    name,
    labels: Object.fromEntries(
      [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label = "", text = ""]) => [label, text]),
    ),
    value: Number(value),
  }));
}

async function read(url: URL, path: string, signal: AbortSignal): Promise<Response> {
  try {
    return await fetch(new URL(path, url), { signal });
  } catch (error) {
    const code = error instanceof Error ? codeOf(error.cause) : undefined;
    throw new CheckError(code === undefined ? "it does not answer" : connectionProblem(code));
  }
}

const roleOfCheck = /^certificate\/(.+)$/;

function certificates(state: z.infer<typeof readyReply>): readonly (readonly [string, string])[] {
  const named = Object.entries(state.checks ?? {}).flatMap(([name, text]) => {
    const role = roleOfCheck.exec(name)?.[1];
    return role === undefined ? [] : [[role, text] as const];
  });
  return [...Object.entries(state.certificates ?? {}), ...named];
}

/** Programs of 0.1.0 say how long it is until then. */
function secondsLeft(role: string, samples: readonly Sample[]): number | undefined {
  const of = (end: string): number | undefined =>
    samples.find(({ name, labels }) => name.endsWith(end) && labels["role"] === role)?.value;
  const at = of("_certificate_expiry_timestamp_seconds");
  return at === undefined ? of("_certificate_seconds_left") : Math.floor(at - Date.now() / 1000);
}

function ofCertificate(role: string, text: string, samples: readonly Sample[]): Finding {
  const left = secondsLeft(role, samples);
  const level = text === "ok" ? "ok" : text.startsWith("expires in") ? "expiring" : "invalid";
  const state = { role, level, text, ...(left !== undefined && { secondsLeft: left }) } as const;
  const found = `certificate ${role}: ${describeExpiry(state)}`;
  if (level === "ok") return { verdict: "ok", found };
  return {
    verdict: level === "expiring" ? "warning" : "failed",
    found,
    cure: "renew it, or find out why its renewer did not",
  };
}

function ofHandshakes(samples: readonly Sample[]): readonly Finding[] {
  return samples.flatMap(({ name, labels: { cause, refused_by: by }, value }) => {
    const failure = parseHandshakeFailure(cause);
    if (!name.endsWith("_handshake_failures_total") || failure === undefined || value === 0) return [];
    const who = by === undefined ? "" : `, refused by the ${by}`;
    const found = `${value} failed handshakes since its start: ${failure}, ${describeHandshakeFailure(failure)}${who}`;
    return [{ verdict: "note", found }];
  });
}

async function ask(url: URL, signal: AbortSignal): Promise<Found<true>> {
  const [ready, metrics] = await Promise.all([read(url, "/readyz", signal), read(url, "/metrics", signal)]);
  const state = readyReply.safeParse(await ready.json().catch(() => undefined));
  const known = state.success ? certificates(state.data) : [];
  if (known.length === 0) throw new CheckError("what answers there is no second listener of a shim or a gateway");
  const samples = samplesOf(await metrics.text());
  const more = [...known.map(([role, text]) => ofCertificate(role, text, samples)), ...ofHandshakes(samples)];
  return { found: "", value: true, more };
}

/** Rows about each program. @param urls of second listeners */
export async function checkPrograms(urls: readonly URL[]): Promise<readonly CheckRow[]> {
  const checks = urls.map((url) => ({ url, check: createCheck() }));
  await Promise.all(checks.map(({ url, check }) => check.step(url.origin, (signal) => ask(url, signal))));
  return checks.flatMap(({ check }) => check.rows());
}
