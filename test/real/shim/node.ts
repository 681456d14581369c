// A control-plane node with the shim as it is shipped: bundle, unit and shim.yaml, in a directory of
// its own. The unit's paths, the gateway's address and the health port are the test's.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { constants } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { parse, stringify } from "yaml";
import { type Lab, startLab } from "../../lab/lab.ts";
import { freePorts, type LabProcess } from "../../lab/process-group.ts";
import { readUnit, type Unit, unitCommand } from "../../lab/unit.ts";

const root = join(import.meta.dirname, "..", "..", "..");

type Settings = {
  readonly socket: { readonly path: string; readonly mode: string; readonly group: number };
  readonly health: { readonly address: string; readonly port: number };
} & Readonly<Record<string, unknown>>;

export type ShimNode = {
  readonly lab: Lab;
  readonly unit: Unit;
  /** What infra/shim/shim.yaml says, with this test's paths. */
  readonly settings: Settings;
  /** The directory of the socket: the unit's user owns it. */
  readonly runDir: string;
  readonly user: number;
  /** Starts a shim under the unit's filter; returns before it is ready. */
  start(
    name: string,
    options?: { readonly takeover?: boolean; readonly settings?: Settings; readonly unit?: Unit },
  ): LabProcess;
  /** Gives the shim another certificate of the same node, as a renewal does. */
  renewCertificate(): Promise<void>;
  stop(): Promise<void>;
};

/** @param extra settings that the shipped file has as comments */
export async function startShimNode(extra: Readonly<Record<string, unknown>> = {}): Promise<ShimNode> {
  assert.equal(process.getuid?.(), 0, "the unit's user is taken on by root: run these tests as root");
  const dir = mkdtempSync(join(tmpdir(), "claviger-shim-"));
  const lab = await startLab({ dir: join(dir, "lab"), backend: "embedded", redis: false, shims: 0 });
  const unit = readUnit();
  const user = Number(unit.one("User"));
  const owned = (name: string): string => {
    const path = join(dir, name);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chownSync(path, user, Number(unit.one("Group")));
    return path;
  };
  chmodSync(dir, 0o711);
  const [runDir, etcDir, cacheDir] = [owned("run"), owned("etc"), owned("cache")];
  const [node, bundle] = [join(dir, "node"), join(dir, "claviger-shim.mjs")];
  copyFileSync(process.execPath, node, constants.COPYFILE_FICLONE);
  await promisify(execFile)(process.execPath, ["infra/build.ts", "--only", "claviger-shim", "--outdir", dir], {
    cwd: root,
  });

  const shipped = parse(readFileSync(join(root, "infra", "shim", "shim.yaml"), "utf8")) as Settings;
  const [port] = await freePorts(1);
  const pem = (name: string): string => join(etcDir, name);
  const settings: Settings = {
    ...shipped,
    socket: { ...shipped.socket, path: join(runDir, "kms.sock") },
    gateways: lab.gateways.map(({ url }) => url),
    tls: { cert: pem("tls.crt"), key: pem("tls.key"), ca: pem("gateway-ca.crt") },
    health: { ...shipped.health, port: port ?? 0 },
    ...extra,
  };
  const put = (path: string, text: string): void => {
    writeFileSync(path, text, { mode: 0o600 });
    chownSync(path, user, -1);
  };
  const renewCertificate = async (): Promise<void> => {
    const pair = await lab.pki.node("cluster-1", "node-1");
    put(pem("tls.key"), readFileSync(pair.key, "utf8"));
    put(pem("tls.crt"), readFileSync(pair.cert, "utf8"));
  };
  await renewCertificate();
  put(pem("gateway-ca.crt"), readFileSync(lab.pki.ca, "utf8"));

  return {
    lab,
    unit,
    settings,
    runDir,
    user,
    start(name, options = {}) {
      const config = pem(`${name}.yaml`);
      put(config, stringify(options.settings ?? settings));
      const argv = unitCommand(options.unit ?? unit, {
        replaced: {
          "/usr/bin/node": node,
          "/opt/claviger/claviger-shim.mjs": bundle,
          "/etc/claviger/shim.yaml": config,
        },
        more: options.takeover === true ? ["--takeover"] : [],
      });
      const [, variable = ""] = /^(\w+)=/.exec(unit.one("Environment")) ?? [];
      return lab.processes.start(name, argv, { [variable]: cacheDir });
    },
    renewCertificate,
    async stop() {
      await lab.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
