// `npm run lab -- --dir DIR ...`: the real thing on loopback, until Ctrl-C.
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { startLab } from "../lab/lab.ts";
import { installParts } from "../parts/install.ts";

const usage = `npm run lab -- --dir DIR [--backend vault|embedded] [--gateways N] [--shims N] [--clusters N] [--kubernetes] [--no-redis]

Starts OpenBao, Redis, gateways and shims on loopback; with --kubernetes also etcd and one kube-apiserver for each shim of cluster-1.
Shims go to the clusters in turn: the first to cluster-1. Writes DIR/lab.json, prints 'lab ready DIR/lab.json', runs until Ctrl-C.
`;

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};
const count = (name: string, text: string): number => {
  if (!/^[1-9]\d?$/.test(text)) throw new TypeError(`--${name} must be a number from 1 to 99`);
  return Number(text);
};

const { values } = parseArgs({
  options: {
    dir: { type: "string" },
    backend: { type: "string", default: "vault" },
    gateways: { type: "string", default: "1" },
    shims: { type: "string", default: "1" },
    clusters: { type: "string", default: "1" },
    kubernetes: { type: "boolean", default: false },
    "no-redis": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (values.help) process.stdout.write(usage);
else if (values.dir === undefined || (values.backend !== "vault" && values.backend !== "embedded")) {
  say(usage);
  process.exitCode = 2;
} else {
  await installParts();
  const stopped = Promise.withResolvers<void>();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => stopped.resolve());
  const lab = await startLab({
    dir: resolve(values.dir),
    backend: values.backend,
    gateways: count("gateways", values.gateways),
    shims: count("shims", values.shims),
    clusters: count("clusters", values.clusters),
    kubernetes: values.kubernetes,
    redis: !values["no-redis"],
    onProgress: (text) => say(`  starting ${text} ...`),
  });
  process.stdout.write(`lab ready ${lab.file}\n`);
  say(
    `Try: npx claviger check --socket ${lab.shims[0]?.socket ?? ""}\n     npx claviger key status cluster-1 --lab ${lab.file}\nCtrl-C stops everything.`,
  );
  await stopped.promise;
  say("  stopping everything ...");
  await lab.stop();
}
