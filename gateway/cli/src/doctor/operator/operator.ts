// `claviger doctor operator`: what an operator's command needs: a context, who they are, and the servers that the
// context names.
import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Check, CheckError, type CheckRow, createCheck, type Found } from "@claviger/proto/runtime/check.ts";
import { checkCertificates } from "@claviger/proto/runtime/check-files.ts";
import { identityOf, splitPem } from "@claviger/proto/runtime/certificates.ts";
import { readPemFiles } from "@claviger/proto/runtime/pem-files.ts";
import { checkBackend } from "@claviger/gateway-core/src/backend/check.ts";
import { CliError, type Terminal } from "../../commander.ts";
import { type Context, contextOf, type FleetAddress, readContexts } from "../../contexts.ts";
import { withFleetService } from "../../fleet-client.ts";
import { tokenOf } from "../../oidc/session.ts";
import { defaultContexts } from "../../target.ts";
import { readEtcd } from "../../usage/etcd.ts";
import { parseSources, withContextEtcds } from "../../usage/sources.ts";
import { checkClocks, type Timekeeper } from "../clock.ts";
import { checkNames } from "../names.ts";

export type OperatorOptions = { readonly config?: string; readonly context?: string };

/** The file of contexts that is meant. */
export function contextsFile({ config }: OperatorOptions, terminal: Terminal): string {
  return config ?? terminal.env["CLAVIGER_CONFIG"] ?? defaultContexts(terminal);
}

/** What a command would say, as a finding. */
async function inWords<T>(run: () => Promise<T>, cure?: string): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof CliError) throw new CheckError(error.message, cure);
    throw error;
  }
}

type Chosen = { readonly file: string; readonly name: string; readonly context: Context };

async function choose(check: Check, options: OperatorOptions, terminal: Terminal): Promise<Chosen | undefined> {
  return await check.step("operator.context", () =>
    inWords(async (): Promise<Found<Chosen>> => {
      const file = contextsFile(options, terminal);
      const [name, found] = contextOf(file, readContexts(file), options.context ?? terminal.env["CLAVIGER_CONTEXT"]);
      return { found: `${name} of ${file}`, value: { file, name, context: found } };
    }, "write a file of contexts (docs/programs.md), or name one with --config"),
  );
}

/** The certificate, or the session at the issuer. */
async function checkIdentity(check: Check, { ca, cert, key, oidc }: FleetAddress, terminal: Terminal): Promise<void> {
  if (oidc !== undefined)
    await check.step("operator.login", () =>
      inWords(async () => {
        await tokenOf(oidc, terminal);
        return { found: `logged in at ${oidc.issuer}`, value: true };
      }, "claviger login"),
    );
  if (cert === undefined || key === undefined) {
    if (oidc === undefined)
      check.add("operator.certificate", { verdict: "not tried", found: "the context names no certificate" });
    return;
  }
  const files = await check.step("operator.certificate", (): Found<{ readonly cert: string; readonly ca: string }> => {
    const read = readPemFiles({ cert, key, ca }, { side: "client", at: "fleet." });
    const who = identityOf(new X509Certificate(read.cert));
    if (!/^spiffe:\/\/[^/]+\/operator\/[^/]+$/.test(who))
      throw new CheckError(`${cert} is of ${who}, and of no operator`, "claviger pki operator issues one");
    return { found: who, value: read };
  });
  if (files === undefined) return;
  const rows = createCheck();
  await checkCertificates(rows, [
    { role: "client", kind: "chain", read: () => splitPem(files.cert) },
    { role: "fleet_ca", kind: "authorities", read: () => splitPem(files.ca) },
  ]);
  for (const { verdict, found, cure } of rows.rows()) check.add("operator.certificate", { verdict, found, cure });
}

async function checkFleetService(check: Check, { file, name }: Chosen, terminal: Terminal): Promise<void> {
  await check.step("operator.fleet", () =>
    inWords(async () => {
      const who = await withFleetService({ config: file, context: name }, terminal, (client) => client.whoAmI({}));
      const found = `${who.identity}, role ${who.role === "" ? "none" : who.role}`;
      if (who.role !== "") return { found, value: true };
      return {
        found: "",
        value: true,
        more: [
          {
            verdict: "warning" as const,
            found,
            cure: "have an administrator name you, or a group of yours, in operators or oidc of fleet.yaml",
          },
        ],
      };
    }),
  );
}

async function checkVaults(check: Check, { backends = {} }: Context, { home }: Terminal): Promise<void> {
  const file = join(home, ".vault-token");
  await Promise.all(
    Object.entries(backends).map(async ([name, backend]) => {
      if (backend.kind !== "vault") return;
      const rows = createCheck();
      const opened = await checkBackend(rows, name, { ...backend, auth: { kind: "token-file", file } });
      await opened?.end();
      const hasToken = existsSync(file);
      for (const { name: row, verdict, found, cure } of rows.rows())
        if (!row.endsWith(" login") || hasToken)
          check.add(`operator.vault ${row.replace(/^backend /, "")}`, { verdict, found, cure });
        else
          check.add(`operator.vault ${name}`, {
            verdict: "not tried",
            found: `there is no ${file}; commands that ask this Vault need it, or VAULT_TOKEN`,
          });
    }),
  );
}

async function checkEtcds(check: Check, { etcd = {} }: Context): Promise<void> {
  await Promise.all(
    Object.keys(etcd).map((cluster) =>
      check.step(`operator.etcd ${cluster}`, () =>
        inWords(async () => {
          const sources = parseSources(withContextEtcds({}, etcd, [cluster], cluster), cluster).get(cluster) ?? [];
          for (const source of sources) {
            if (source.kind !== "endpoint") continue;
            const { endpoint, tls } = source;
            // The first answer says all that is asked for here.
            await readEtcd({ endpoint, tls, prefix: "/registry/", onProgress: () => {} }).next();
          }
          return { found: `${sources.length} answer, and let this certificate read`, value: true };
        }, "docs/operations.md says where the certificates of each distribution are"),
      ),
    ),
  );
}

async function checkGateways(check: Check, { gateways = [] }: Context): Promise<void> {
  await Promise.all(
    gateways.map((url) =>
      check.step(`operator.gateway ${url}`, async (signal) => {
        const reply = await fetch(new URL("/livez", url), { signal }).catch(() => undefined);
        if (reply?.ok !== true)
          throw new CheckError(
            "no gateway answers at its second listener",
            "correct gateways of the context: after an edit commands ask them",
          );
        return { found: "it answers", value: true };
      }),
    ),
  );
}

/** Everything, each with a time of its own. */
export async function examineOperator(options: OperatorOptions, terminal: Terminal): Promise<readonly CheckRow[]> {
  const [first, around, identity, service] = [createCheck(), createCheck(), createCheck(), createCheck()] as const;
  const [vaults, etcds, gateways] = [createCheck(), createCheck(), createCheck()] as const;
  const chosen = await choose(first, options, terminal);
  if (chosen === undefined) return first.rows();
  const { context } = chosen;
  const { fleet } = context;
  const urls = [
    ...(fleet === undefined ? [] : [fleet.url]),
    ...Object.values(context.backends ?? {}).flatMap((one) => (one.kind === "vault" ? one.addresses : [])),
    ...Object.values(context.etcd ?? {}).flatMap(({ endpoints }) => endpoints),
  ];
  const keepers: readonly Timekeeper[] = fleet === undefined ? [] : [{ url: fleet.url, path: "/" }];
  await Promise.all([
    checkClocks(around, "operator.clock", keepers).then(() => checkNames(around, "operator.dns", urls)),
    ...(fleet === undefined
      ? []
      : [checkIdentity(identity, fleet, terminal), checkFleetService(service, chosen, terminal)]),
    checkVaults(vaults, context, terminal),
    checkEtcds(etcds, context),
    checkGateways(gateways, context),
  ]);
  return [first, around, identity, service, vaults, etcds, gateways].flatMap((check) => check.rows());
}
