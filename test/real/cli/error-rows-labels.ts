// Rows of what goes wrong with labels and cells.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Row } from "./error-rows.ts";
import { registryOf, type World } from "./error-world.ts";

/** A site whose one cluster has a label. */
function labelled(world: World): readonly string[] {
  const registry = join(world.dir, "labels.yaml");
  writeFileSync(registry, registryOf("prod").replace("state: active", "labels: { cell: a }, state: active"));
  return ["--config", world.site("labels", { registry: { kind: "file", file: registry } })];
}

/** `claviger cluster label`, `add --label` and `list -l`. */
export function labelRows(world: World): readonly Row[] {
  const fleet = labelled(world);
  const row = (what: string, args: readonly string[], says: RegExp): Row => ({
    what,
    args: ["cluster", ...args, ...fleet],
    says,
  });
  const of = (name: string, serves: string, ...args: readonly string[]): readonly string[] => {
    const file = join(world.dir, `${name}.yaml`);
    const [one, two] = ["a", "b"].map((cell) => `labels: { cell: ${cell} }, state: active`);
    writeFileSync(
      file,
      registryOf("prod", "prod-b")
        .replace("state: active", one ?? "")
        .replace(/state: active(?=[^\n]*\n$)/, two ?? ""),
    );
    const config = world.site(name, { registry: { kind: "file", file }, serves: { matchLabels: { cell: serves } } });
    return ["vault", "init", "--config", config, ...args];
  };
  const add = ["add", "new", "--backend", "main", "--mount", "transit", "--label"];
  return [
    row(
      "label: a word alone",
      ["label", "prod", "cell"],
      /^claviger: label "cell" must be KEY=VALUE, or KEY- to take it/,
    ),
    row(
      "label: a key that is none",
      ["label", "prod", "a b=y"],
      /label "a b=y": what is named must be a label's key: /,
    ),
    row(
      "label: a value that is none",
      ["label", "prod", "x=a b"],
      /label "x=a b": what it is given must be a label's value/,
    ),
    row("label: one key twice", ["label", "prod", "x=a", "x-"], /^claviger: label x is given twice$/),
    row(
      "label: another value",
      ["label", "prod", "cell=b"],
      /^claviger: cluster prod has the label cell=a; give it another value with --overwrite \(gateways that serve by it/,
    ),
    row(
      "label: too many",
      ["label", "prod", ...Array.from({ length: 32 }, (_, i) => `k${i}=v`)],
      /clusters\.0\.labels: must have at most 32 labels$/,
    ),
    row(
      "label: no such cluster",
      ["label", "nobody", "x=y"],
      /^claviger: cluster "nobody" is not in the registry; see: /,
    ),
    row("add: a label to take away", [...add, "x-"], /^claviger: label "x-" must be KEY=VALUE$/),
    row(
      "list: no selector",
      ["list", "-l", "cell in a"],
      /^claviger: -l "cell in a" is no selector; as for kubectl: KEY=/,
    ),
    row("list: a value that is none", ["list", "-l", "cell=-"], /label "cell=-": what it is given must be a label's/),
    {
      what: "vault init: no cluster is served",
      args: of("none-served", "c"),
      says: /^claviger: no cluster of the registry has the labels that serves selects: claviger cluster label CLUSTER KEY=VALUE, or/,
    },
    {
      what: "vault init: a prefix in a mount of two cells",
      args: of("two-cells", "a", "--key-prefix", "pr"),
      says: /^claviger: --key-prefix opens all of transit, where keys of clusters are that these gateways do not serve .*\(prod-b\): give each cell/,
    },
    {
      what: "a gateway's selector of a wrong form",
      args: ["cluster", "list", "--config", world.site("serves", { serves: { matchLabels: { cell: true } } })],
      says: /serves\.matchLabels\.cell: must be a label's value: a text \(quoted where it is true/,
    },
  ];
}
