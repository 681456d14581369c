// What `vault init` says: its plan, the test of the policy, and what comes next.
import type { Terminal } from "../commander.ts";
import type { Role } from "./init-role.ts";
import type { PlanStep } from "./plan.ts";
import type { PolicyTest } from "./policy-probe.ts";
import { kubernetesManifest } from "./roles.ts";

const words: Readonly<Record<PlanStep["status"], string>> = {
  present: "present ",
  create: "create  ",
  change: "change  ",
  conflict: "CONFLICT",
};

/** Each step, with the rights that a policy would lose. */
export function printPlan(steps: readonly PlanStep[], terminal: Terminal): void {
  for (const { what, status, detail, removes = [] } of steps) {
    terminal.out(`  ${words[status]}  ${what}${detail === undefined ? "" : `: ${detail}`}`);
    for (const right of removes) terminal.out(`  REMOVES   ${right}`);
  }
}

/** What was tried, and how it went. */
export function printTest({ needed, denied }: PolicyTest, who: string, terminal: Terminal): void {
  terminal.out(`\nWhat the ${who} must be able to do (tried with a token under its policy alone):`);
  for (const { path, what, ok, detail } of needed)
    terminal.out(`  ${ok ? "ok  " : "FAIL"}  ${path}  ${what}: ${detail}`);
  terminal.out("\nWhat it must not be able to do:");
  for (const { path, what, ok, detail } of denied)
    terminal.out(`  ${ok ? "denied" : "OPEN  "}  ${path}  ${what}${ok ? "" : `: ${detail}`}`);
}

/** The option of the vault command for a backend's namespace. */
export function inNamespace(namespace: string | undefined): string {
  return namespace === undefined ? "" : ` -namespace=${namespace}`;
}

/** What to do after it, line by line. @param who whose login it is @param namespace where they log in */
export function nextSteps(
  role: Role | undefined,
  policy: string,
  who: string,
  namespace: string | undefined,
): readonly string[] {
  const option = inNamespace(namespace);
  switch (role?.method) {
    case undefined:
      return [
        `Next: give the ${who} a token under the policy ${policy}: vault token create${option} -orphan -period=24h -no-default-policy -policy=${policy}`,
      ];
    case "approle": {
      const path = `auth/${role.mount}/role/${role.options.role}`;
      const { secretIdCidrs, secretIdTtl } = role.options;
      return [
        `Next: (umask 077; vault read${option} -field=role_id ${path}/role-id > ROLE-ID-FILE; vault write${option} -f -field=secret_id ${path}/secret-id > SECRET-ID-FILE)`,
        ...(secretIdCidrs === undefined
          ? [`The secret-id works from any address; bind it to the ${who}'s with --secret-id-cidr CIDR.`]
          : []),
        ...(secretIdTtl === undefined
          ? ["It does not end; where something renews the file, give it a life with --secret-id-ttl 24h."]
          : [`It ends after ${secretIdTtl} s: something must write a new one to the file before that.`]),
      ];
    }
    case "kubernetes":
      return [`Next, in the cluster that runs the ${who}:`, "", kubernetesManifest(role.options)];
    case "jwt":
    case "cert":
      return [`Next: start the ${who}.`];
  }
}
