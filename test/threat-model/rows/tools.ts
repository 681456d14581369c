// Tools that bring Secrets to kube-apiserver from elsewhere. What they bring is as readable as any
// Secret there: shown without encryption, and with Claviger.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { type ApiServer, secretPath } from "../../lab/kubernetes.ts";
import { providerName } from "../../lab/encryption.ts";
import {
  type ControlPlane,
  lookAtDisk,
  lookAtRunning,
  plantControl,
  type Stake,
  startControlPlane,
  withSnapshot,
} from "../control-plane.ts";
import { type Evidence, searchFor } from "../evidence.ts";
import { type Cell, type Finding, type Row, tested } from "../row.ts";
import { filesWithControl } from "../search.ts";
import { tried } from "../standing.ts";
import type { World } from "../world.ts";

/** One way, ready to be used on any kube-apiserver. */
export type Tool = {
  readonly name: string;
  readonly setUp: string;
  /** The name of the Secret that it writes, with `value` under the key `value`. */
  readonly secret: string;
  readonly value: Buffer;
  /** Resolves when it is there. @param dir for what it needs on the way */
  bring(api: ApiServer, dir: string): Promise<void>;
  /** What lies where it takes the Secret from. */
  beside(): readonly Finding[];
  kmsServer(): Promise<Cell>;
};

function whatOf({ name }: Tool): string {
  return `the Secret of ${name}`;
}

/** The findings about one tool's Secret. */
function only(cell: Cell, tool: Tool): readonly Finding[] {
  return cell.kind === "tested" ? cell.findings.filter(({ did }) => did.endsWith(` ${whatOf(tool)}`)) : [];
}

async function bring(tool: Tool, api: ApiServer, dir: string): Promise<void> {
  await tool.bring(api, dir);
  const read = await api.readSecret(tool.secret);
  if (!read.equals(tool.value)) throw new Error(`${tool.name} brought another Secret`);
}

/** The useful direction: what a tool brings to a cluster with Claviger. */
async function throughClaviger(tool: Tool, { etcd, control, dir }: World): Promise<readonly Evidence[]> {
  const stored = await tried("its value in etcd is read", async () => {
    const value = (await etcd.get(secretPath(tool.secret)))?.toString("latin1") ?? "";
    const is = value.startsWith(`k8s:enc:kms:v2:${providerName}:`) && !value.includes(tool.value.toString("latin1"));
    return { result: is ? `\`k8s:enc:kms:v2:${providerName}:\`, encrypted` : "in the clear", succeeded: is };
  });
  const found = await withSnapshot(etcd, dir, (file) =>
    searchFor(
      filesWithControl("a snapshot of that etcd", [file]),
      [{ what: "the Secret", bytes: tool.value }],
      control,
    ),
  );
  return [stored, ...found];
}

/** The row of each tool, over a kube-apiserver that encrypts nothing. */
export async function toolRows(world: World, tools: readonly Tool[], dir: string): Promise<readonly Row[]> {
  const plane: ControlPlane = await startControlPlane({ dir });
  try {
    const { control } = world;
    await plantControl(plane.api, control);
    for (const tool of tools) await bring(tool, plane.api, dir);
    const stake: Stake = {
      control,
      secrets: tools.map((tool) => ({ what: whatOf(tool), bytes: tool.value })),
      keys: [],
    };
    const running = await lookAtRunning(plane, dir, stake);
    const disk = lookAtDisk(plane, join(dir, "logs"), stake);
    const rows: Row[] = [];
    for (const tool of tools) {
      await bring(tool, world.api, dir);
      rows.push({
        name: tool.name,
        setUp: tool.setUp,
        cells: {
          disk: tested(tool.beside(), only(disk, tool)),
          ram: tested(only(running.ram, tool)),
          etcd: tested(only(running.etcd, tool)),
          apiServer: tested(only(running.apiServer, tool)),
          kmsServer: await tool.kmsServer(),
        },
        through: await throughClaviger(tool, world),
      });
    }
    return rows;
  } finally {
    await plane.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}
