// The pages of the site, in the order in which they are read. test/unit/docs.test.ts wants each page of docs/ in it.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

type Page = { readonly text: string; readonly link: string };
type Section = { readonly text: string; readonly collapsed?: boolean; readonly items: readonly (Page | Section)[] };

const docs = join(import.meta.dirname, "..");

function page(text: string, name: string): Page {
  return { text, link: `/${name}` };
}

/** Each page of a folder, under its own title. */
function folder(text: string, name: string): readonly Section[] {
  if (!existsSync(join(docs, name))) return [];
  const files = readdirSync(join(docs, name)).filter((file) => file.endsWith(".md"));
  const items = files.map((file) => {
    const title = /^# (.+)$/m.exec(readFileSync(join(docs, name, file), "utf8"))?.[1] ?? file;
    return page(title.replaceAll("`", ""), `docs/${name}/${file.replace(/\.md$/, "")}`);
  });
  return [{ text, collapsed: true, items }];
}

export const sidebar: readonly Section[] = [
  {
    text: "Start",
    items: [page("What it is", ""), page("Quickstart", "docs/setup"), page("Beside other plugins", "docs/comparison")],
  },
  {
    text: "Concepts",
    items: [page("Architecture", "docs/architecture"), page("What kube-apiserver demands", "docs/kms-contract")],
  },
  {
    text: "Guides",
    items: [
      page("Releases: images and packages", "docs/releases"),
      page("Gateways and shims in Kubernetes and systemd", "infra/"),
      page("Vault's side with OpenTofu", "infra/tofu/"),
      page("First start of each form of the shim", "docs/bootstrap"),
      page("Fleet service", "docs/control-plane"),
      page("Enrolling nodes", "docs/enrollment"),
      page("Console", "docs/console"),
      ...folder("Distributions", "install"),
    ],
  },
  {
    text: "Operations",
    items: [
      page("Rotation, migration, restore, disasters", "docs/operations"),
      page("Observability", "docs/observability"),
      page("Rules and dashboards", "infra/mixin/"),
      page("What is wrong: doctor", "docs/doctor"),
      page("What each fault looks like", "docs/edges"),
      ...folder("Runbooks", "runbooks"),
      page("Changes", "CHANGELOG"),
    ],
  },
  {
    text: "Reference",
    items: [
      page("Programs", "docs/programs"),
      page("Compatibility", "docs/compatibility"),
      ...folder("Generated from the code", "reference"),
    ],
  },
  { text: "Security", items: [page("Limits and promises", "SECURITY"), page("Threat model", "docs/threat-model")] },
  {
    text: "Measured",
    items: [
      page("Performance", "docs/performance"),
      page("Size", "docs/size"),
      page("Endurance", "docs/endurance"),
      page("Chaos", "docs/chaos"),
      page("Mutation", "docs/mutation"),
    ],
  },
  {
    text: "Contributing",
    items: [page("Reading order and rules", "CONTRIBUTING"), page("A whole site on one machine", "docs/lab")],
  },
];
