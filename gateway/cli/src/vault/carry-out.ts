// What `vault init` does with a plan: shows it, applies it where nothing is in the way, and has the policy tried.
import { KmsError } from "@claviger/proto/wire/errors.ts";
import { Secret } from "@claviger/proto/runtime/secret.ts";
import { CliError, Exit, type Terminal } from "../commander.ts";
import { recordIn, type VaultControl } from "./control.ts";
import { printPlan, printTest } from "./init-report.ts";
import type { InitOptions } from "./init-role.ts";
import { applyPlan, type PlanStep } from "./plan.ts";
import type { PolicyTest } from "./policy-probe.ts";

/** A Vault with the operator's token, and a way to try another one. */
export type OperatorVault = { readonly control: VaultControl; readonly open: (token: Secret) => VaultControl };

const tokenTtl = "60s";

/** Runs a test with a short-lived token under one policy alone. */
export async function withTestToken<T>(
  { control, open }: OperatorVault,
  policy: string,
  run: (token: Secret) => Promise<T>,
): Promise<T> {
  const created = await control.write("auth/token/create", {
    policies: [policy],
    no_default_policy: true,
    ttl: tokenTtl,
    display_name: "claviger-policy-test",
  });
  const { client_token: text } = recordIn(created, "auth");
  if (typeof text !== "string")
    throw new KmsError("backend_protocol_error", { cause: new Error("no token in the reply of auth/token/create") });
  const token = new Secret(text);
  try {
    return await run(token);
  } finally {
    await open(token)
      .write("auth/token/revoke-self", {})
      .catch(() => undefined);
  }
}

/**
 * Shows the plan, applies it and prints the policy's test.
 * @param who whose policy it is, as messages say it
 * @param mayGoOn what is in the way holds up itself alone
 * @returns false where nothing was to be changed (`--dry-run`)
 * @throws CliError, or Exit where the policy is not tight
 */
export async function carryOut({
  title,
  steps,
  who,
  mayGoOn = false,
  options: { dryRun, json, yes },
  terminal,
  test,
}: {
  /** Which Vault it is. */
  readonly title: string;
  readonly steps: readonly PlanStep[];
  readonly who: string;
  readonly mayGoOn?: boolean;
  readonly options: Pick<InitOptions, "dryRun" | "json" | "yes">;
  readonly terminal: Terminal;
  readonly test: () => Promise<PolicyTest>;
}): Promise<boolean> {
  const print = (text: string): void => void (json || terminal.out(text));
  const conflicts = steps.filter(({ status }) => status === "conflict").length;
  const pending = steps.filter(({ apply }) => apply !== undefined).length;
  print(title);
  if (!json) printPlan(steps, terminal);
  if (conflicts > 0 && !mayGoOn)
    throw new CliError(
      `${conflicts === 1 ? "one thing is" : `${conflicts} things are`} in the way (CONFLICT above); nothing was changed`,
    );
  if (dryRun) {
    if (json) terminal.out(JSON.stringify({ changed: 0, pending, steps }, undefined, 2));
    print(pending === 0 ? "Nothing to do." : `${pending} to do; nothing was changed (--dry-run).`);
    return false;
  }
  const removed = steps.flatMap(({ removes = [] }) => removes).length;
  if (removed > 0 && !yes)
    throw new CliError(
      `the policy would lose ${removed} of its rights (REMOVES above), and a ${who} that still needs one would stop; nothing was changed: where that is meant, run this again with --yes`,
    );
  const changed = await applyPlan(steps);
  print(changed === 0 ? "Nothing was changed: all of it was there." : `${changed} done.`);
  const found = await test();
  const isTight = [...found.needed, ...found.denied].every(({ ok }) => ok);
  if (json) terminal.out(JSON.stringify({ changed, steps, policy: found, ok: isTight }, undefined, 2));
  else printTest(found, who, terminal);
  if (!isTight) {
    terminal.err("claviger: the policy is not what it should be, see FAIL and OPEN above");
    throw new Exit(1);
  }
  print(`\nThe ${who} can do what it must, and nothing more of the ${found.denied.length} things that were tried.`);
  return true;
}
