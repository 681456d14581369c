// `claviger key usage`: what is in a cluster's etcds, by what it needs, and whether that decrypts
// today.
import { serviceClusters } from "../cluster/service.ts";
import { CliError, type Terminal } from "../commander.ts";
import { type Fleet, openFleet } from "../fleet.ts";
import { withFleetService } from "../fleet-client.ts";
import { etcdsIn, isServiceAlone, isThroughService, type SiteOptions } from "../site.ts";
import { recordOf } from "@claviger/gateway-core/src/registry/edit/text.ts";
import { formatTable, printable } from "@claviger/proto/runtime/table.ts";
import { countUsage, type Objects, type Usage, type Use } from "./count.ts";
import { type Opening, tryUses } from "./opening.ts";
import { createProgress } from "./progress.ts";
import { entriesOf, parseSources, type SourceOptions, withContextEtcds } from "./sources.ts";
import { usageMessage, type UsageMessage } from "./usage-message.ts";

export type UsageOptions = SourceOptions &
  SiteOptions & { readonly json: boolean; readonly decrypt: boolean; readonly report: boolean };

type Report = {
  readonly usage: Usage;
  readonly openings: ReadonlyMap<Use, Opening>;
  /** A cluster's name, by its uid. */
  readonly names: ReadonlyMap<string, string>;
};

function todayText(opening: Opening | undefined): string {
  switch (opening?.kind) {
    case undefined:
      return "not tried";
    case "opens":
      return "decrypts";
    case "retired":
      return "no: retired";
    case "lost":
      return "NO: THE KEY IS GONE";
    case "refused":
      return "NO";
    case "unknown":
      return "not known";
  }
}

function exampleOf({ examples: [first = ""] }: Objects): string {
  return first;
}

function tableOf({ usage: { uses, foreign }, openings, names }: Report): string {
  return formatTable(
    ["OBJECTS", "CLUSTER", "KEY", "VERSION", "KEY_ID", "TODAY", "ONE OF THEM"],
    [
      ...uses.map((use) => [
        String(use.count),
        names.get(use.clusterUid) ?? use.clusterUid,
        `${use.backend}: ${use.key}`,
        String(use.version),
        `${use.keyId.slice(0, 13)}…`,
        todayText(openings.get(use)),
        exampleOf(use),
      ]),
      ...foreign.map((use) => [
        String(use.count),
        "?",
        `of KMS plugin ${use.provider}, not Claviger`,
        String(use.version ?? "?"),
        "?",
        "not tried",
        exampleOf(use),
      ]),
    ],
  );
}

/** What the operator has to know of objects that do not decrypt, or of which that is not known. */
function openingLines({ usage: { uses }, openings }: Report): readonly string[] {
  return uses.flatMap((use) => {
    const opening = openings.get(use);
    const what = `version ${use.version} of ${use.backend}: ${use.key} (key_id ${use.keyId.slice(0, 13)}…)`;
    const list = `${use.examples.join(", ")}${use.count > use.examples.length ? ` and ${use.count - use.examples.length} more` : ""}`;
    switch (opening?.kind) {
      case undefined:
      case "opens":
        return [];
      case "retired":
        return [`${use.count} objects need ${what}, which is retired: claviger key unretire brings it back`];
      case "lost":
        return [
          `${use.count} objects need ${what}, and that key is gone: it was deleted or restored since, and the key of that name is another one now. They cannot be read: ${list}`,
        ];
      case "refused":
        return [`${use.count} objects need ${what}, which is there and does not decrypt what was tried: ${list}`];
      case "unknown":
        return [`whether ${what} decrypts today is not known: ${opening.why}`];
    }
  });
}

function linesOf(report: Report): readonly string[] {
  const { uses, foreign, plainSecrets, plain, others, damaged } = report.usage;
  return [
    uses.length + foreign.length === 0 ? "No object is encrypted by Claviger." : tableOf(report),
    ...openingLines(report),
    ...foreign.map(({ count, provider, version }) =>
      version === undefined
        ? `${count} objects of KMS plugin ${provider} do not tell which version of which key they need`
        : `${count} objects of KMS plugin ${provider} need version ${version} of a Transit key, and maybe of this one`,
    ),
    ...[...others].map(([what, count]) => `${count} objects are encrypted by something else: ${what}`),
    `${plainSecrets.count} Secrets are not encrypted at all${plainSecrets.count === 0 ? "" : `, e.g. ${exampleOf(plainSecrets)}`}`,
    `${plain} values of other kinds are not encrypted`,
    ...(damaged.length === 0 ? [] : [`${damaged.length} values look encrypted and cannot be read, e.g. ${damaged[0]}`]),
  ].map((line, i) => (i === 0 ? line : printable(line)));
}

function jsonOf({ usage, openings, names }: Report): string {
  const { uses, foreign, others, ...rest } = usage;
  const report = {
    uses: uses.map((use) => {
      const { clusterUid, backend, key, version, keyId, count, examples } = use;
      const today = openings.get(use);
      return {
        clusterUid,
        cluster: names.get(clusterUid),
        backend,
        key,
        version,
        keyId,
        count,
        example: exampleOf(use),
        examples,
        today: today?.kind ?? "not tried",
        ...(today?.kind === "unknown" && { why: today.why }),
      };
    }),
    foreign: foreign.map((use) => ({ ...use, example: exampleOf(use) })),
    others: Object.fromEntries(others),
    ...rest,
  };
  return JSON.stringify(report, undefined, 2);
}

type Site = {
  /** Their names, by their uids. */
  readonly names: ReadonlyMap<string, string>;
  readonly etcds: Fleet["etcd"];
  readonly tryAll: (uses: readonly Use[]) => Promise<Report["openings"]>;
};

/** What the operator's own token sees. @throws CliError where there is no such cluster */
async function directSite(cluster: string, options: UsageOptions, terminal: Terminal): Promise<Site> {
  const fleet = openFleet(options, terminal);
  const registry = await fleet.registry.all();
  recordOf(registry, cluster);
  const known = [...registry.values()].flatMap(({ keys, previousKeys }) => [...keys, ...previousKeys]);
  return {
    names: new Map([...registry.values()].map(({ uid, name }) => [uid, name])),
    etcds: fleet.etcd,
    tryAll: (uses) => (options.decrypt ? tryUses(uses, known, fleet) : Promise.resolve(new Map())),
  };
}

/** What the fleet service knows: nothing is decrypted through it. */
async function serviceSite(cluster: string, options: UsageOptions, terminal: Terminal): Promise<Site> {
  const { clusters } = await withFleetService(options, terminal, async (client) => {
    await client.getCluster({ name: cluster });
    return await serviceClusters(client, "", () => "").list("");
  });
  return {
    names: new Map(clusters.map(({ uid, name }) => [uid, name])),
    etcds: etcdsIn(options, terminal),
    tryAll: () => Promise.resolve(new Map()),
  };
}

/** A count that nobody hears of is a count all the same. */
async function report(usage: UsageMessage, options: UsageOptions, terminal: Terminal): Promise<void> {
  try {
    await withFleetService(options, terminal, (client) => client.reportKeyUsage({ usage }));
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    terminal.err(printable(`'claviger key status' will not show this count: ${error.message}`));
  }
}

/** Counts, tries, prints, and tells the fleet service where there is one. */
export async function showUsage(cluster: string, options: UsageOptions, terminal: Terminal): Promise<void> {
  const open = isServiceAlone(options, terminal) ? serviceSite : directSite;
  const { names, etcds, tryAll } = await open(cluster, options, terminal);
  const sources = parseSources(withContextEtcds(options, etcds, [cluster], cluster), cluster);
  for (const name of sources.keys())
    if (name !== cluster) throw new CliError(`--etcd ${name}=…: usage counts the etcds of ${cluster} alone`);
  const own = sources.get(cluster) ?? [];
  const began = Date.now();
  const usage = await countUsage(entriesOf(own, options, createProgress(terminal.err)), options.prefix);
  const counted = { usage, openings: await tryAll(usage.uses), names };
  terminal.out(options.json ? jsonOf(counted) : linesOf(counted).join("\n"));
  const isWhole = options.prefix === undefined;
  if (isWhole && options.report && isThroughService(options, terminal))
    await report(usageMessage(cluster, usage, own, began), options, terminal);
}
