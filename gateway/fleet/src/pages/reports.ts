// What browsers report of pages that tried what their policy forbids: a line in the log each, a few a minute.
// (https://www.w3.org/TR/CSP3 #deprecated-serialize-violation, https://w3c.github.io/reporting.)
import type { Log } from "@claviger/proto/runtime/log.ts";

export const reportTypes = ["application/csp-report", "application/reports+json", "application/json"] as const;

const perMinute = 10;
const minuteMs = 60_000;
const longest = 256;

type Violation = { readonly directive: string; readonly blocked: string; readonly page: string };

function textOf(value: unknown): string {
  // It goes to a log: what it is made of is the sender's.
  return typeof value === "string" ? value.replaceAll(/\p{C}/gu, "?").slice(0, longest) : "";
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/** What a body reports; nothing where it is no report. */
export function violationsOf(body: Buffer): readonly Violation[] {
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch {
    return [];
  }
  const all: readonly unknown[] = Array.isArray(value) ? value.slice(0, perMinute) : [value];
  return all.flatMap((one) => {
    const { "csp-report": old, type, body: own } = objectOf(one);
    if (old !== undefined) {
      const report = objectOf(old);
      const directive = textOf(report["effective-directive"] ?? report["violated-directive"]);
      return [{ directive, blocked: textOf(report["blocked-uri"]), page: textOf(report["document-uri"]) }];
    }
    if (type !== "csp-violation") return [];
    const report = objectOf(own);
    const directive = textOf(report["effectiveDirective"]);
    return [{ directive, blocked: textOf(report["blockedURL"]), page: textOf(report["documentURL"]) }];
  });
}

/** @param now monotonic milliseconds */
export function createReports(log: Log, now: () => number = () => performance.now()): (body: Buffer) => void {
  let begun = Number.NEGATIVE_INFINITY;
  let left = 0;
  let dropped = 0;
  return (body) => {
    if (now() - begun >= minuteMs) [begun, left] = [now(), perMinute];
    for (const { directive, blocked, page } of violationsOf(body)) {
      if (left === 0) {
        dropped += 1;
        continue;
      }
      left -= 1;
      log.warn(
        { event: "console-policy", directive, blocked, page, dropped },
        "a browser reports that a page tried what its policy forbids",
      );
      dropped = 0;
    }
  };
}
