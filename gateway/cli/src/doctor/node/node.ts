// `claviger doctor node`: a control-plane node, from its clock to kube-apiserver's EncryptionConfiguration. What the
// shim's own `--check` tries is tried by the same functions.
import { dirname } from "node:path";
import { type CheckRow, createCheck, findingsOf } from "@claviger/proto/runtime/check.ts";
import { holderOf, ownerOf } from "@claviger/proto/runtime/ports.ts";
import { livezPath } from "@claviger/proto/wire/protocol.ts";
import { checkShim } from "@claviger/shim/src/check.ts";
import { loadShimConfig, type ShimConfig } from "@claviger/shim/src/config.ts";
import { readCredentials } from "@claviger/shim/src/tls.ts";
import { checkClocks, type Timekeeper } from "../clock.ts";
import { checkNames } from "../names.ts";
import type { Machine } from "../../commander.ts";
import { localUrl } from "../../target.ts";
import { checkApiServer, type Places } from "./mounts.ts";
import { askShim, checkRunning } from "./running.ts";
import { enforceFile, isEnforced, judgeLabel, labelOf } from "./selinux.ts";
import { accessOf, checkAnswers, judgeOwner } from "./socket.ts";

export type NodeOptions = Omit<Places, "socket"> & {
  /** shim.yaml */
  readonly config: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly machine: Machine;
};

/** With the node's certificate, which gateways want to see; without one where there is none. */
function timekeepers({ gateways, tls }: ShimConfig): readonly Timekeeper[] {
  let own: { readonly cert: string; readonly key: string } | undefined;
  try {
    own = readCredentials(tls).tls;
  } catch {
    // It has a row of its own.
  }
  return gateways.map((url) => ({ url, path: livezPath, ...(own && { cert: own.cert, key: own.key }) }));
}

async function checkConfigured(
  config: ShimConfig,
  warnings: readonly string[],
  machine: Machine,
): Promise<readonly CheckRow[]> {
  const url = localUrl(config.health);
  const state = await askShim(url);
  // The port is the shim's own where a shim answers at it.
  const isShim = state !== undefined;
  const { port } = config.health;
  const own = {
    pid: machine.pid,
    script: isShim ? holderOf(port)?.script : undefined,
    uid: isShim ? ownerOf(port) : undefined,
  };
  const [clock, running, socket, access] = [createCheck(), createCheck(), createCheck(), createCheck()] as const;
  const { path } = config.socket;
  const [rows] = await Promise.all([
    checkShim(config, { warnings, own, setUmask: machine.setUmask }),
    checkClocks(clock, "node.clock", timekeepers(config)).then(() => checkNames(clock, "node.dns", config.gateways)),
    checkRunning(running, url, state),
    checkAnswers(socket, path),
    access.step("node.socket.owner", () => judgeOwner(accessOf(path), accessOf(dirname(path)), config.socket)),
    access.step("node.selinux", async () =>
      judgeLabel(isEnforced(enforceFile), dirname(path), await labelOf(dirname(path))),
    ),
  ]);
  return [...rows, ...[clock, running, socket, access].flatMap((check) => check.rows())];
}

/** Everything, each with a time of its own. */
export async function examineNode(options: NodeOptions): Promise<readonly CheckRow[]> {
  const { config: file, env, machine } = options;
  const warnings: string[] = [];
  const apiServer = createCheck();
  let config: ShimConfig | undefined;
  const unread: CheckRow[] = [];
  try {
    config = loadShimConfig(file, {}, env, (line) => warnings.push(line));
  } catch (error) {
    unread.push(...findingsOf(error).map((finding) => ({ name: "node.config", ...finding })));
  }
  const [rows] = await Promise.all([
    config === undefined ? unread : checkConfigured(config, warnings, machine),
    checkApiServer(apiServer, { ...options, socket: config?.socket.path }),
  ]);
  return [...rows, ...apiServer.rows()];
}
