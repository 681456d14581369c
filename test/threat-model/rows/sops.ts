// SOPS: manifests that lie encrypted in Git, for an age recipient or under a key of Vault's Transit.
import { execFile } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { readToken } from "../../lab/kubernetes.ts";
import { kubeconfig } from "../../lab/kubeconfig.ts";
import { findBinary } from "../../parts/find.ts";
import { findingsIn } from "../control-plane.ts";
import { type Cell, tested } from "../row.ts";
import { filesOf, memoryOf, newValue } from "../search.ts";
import type { World } from "../world.ts";
import type { Tool } from "./tools.ts";

const run = promisify(execFile);

type Recipient = {
  readonly name: string;
  readonly secret: string;
  readonly flags: readonly string[];
  /** What SOPS needs to decrypt. */
  readonly env: Readonly<Record<string, string>>;
  kmsServer(value: Buffer): Cell;
};

async function ageRecipient(dir: string): Promise<Recipient> {
  const identity = join(dir, "age.key");
  await run(findBinary("age-keygen"), ["-o", identity]);
  const { stdout } = await run(findBinary("age-keygen"), ["-y", identity]);
  return {
    name: "SOPS (age)",
    secret: "sops-age",
    flags: ["--age", stdout.trim()],
    env: { SOPS_AGE_KEY_FILE: identity },
    kmsServer: () => ({ kind: "absent", why: "there is none" }),
  };
}

async function transitRecipient({ vault, dir, control }: World): Promise<Recipient> {
  await vault.call("POST", "sys/mounts/sops", { type: "transit" });
  await vault.call("POST", "sops/keys/manifests", {});
  return {
    name: "SOPS (Vault Transit)",
    secret: "sops-transit",
    flags: ["--hc-vault-transit", `${vault.addr}/v1/sops/keys/manifests`],
    env: { VAULT_ADDR: vault.addr, VAULT_TOKEN: readToken(vault.tokenFile) },
    kmsServer(value) {
      const stake = { control, secrets: [{ what: "the Secret", bytes: value }], keys: [] };
      const files = [join(dir, "openbao", "raft"), vault.auditLog];
      return tested(
        findingsIn(memoryOf("memory of OpenBao", vault.proc().pid), stake),
        findingsIn(filesOf("OpenBao's storage and audit log", files, control, join(dir, "logs")), stake),
      );
    },
  };
}

/** The manifest as it would lie in Git. */
async function encrypted(dir: string, { secret, flags, env }: Recipient, value: Buffer): Promise<string> {
  const [plain, file] = [join(dir, `${secret}.plain.yaml`), join(dir, `${secret}.yaml`)];
  const manifest = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: secret, namespace: "default" },
    data: { value: value.toString("base64") },
  };
  writeFileSync(plain, JSON.stringify(manifest), { mode: 0o600 });
  const how = ["--encrypted-regex", "^(data|stringData)$", "--input-type", "json", "--output-type", "yaml"];
  await run(findBinary("sops"), ["encrypt", ...flags, ...how, "--output", file, plain], {
    env: { ...process.env, ...env },
  });
  rmSync(plain);
  return file;
}

async function toolFor(world: World, dir: string, recipient: Recipient): Promise<Tool> {
  const value = newValue();
  const file = await encrypted(dir, recipient, value);
  const { name, secret, env } = recipient;
  return {
    name,
    secret,
    value,
    setUp:
      "The real SOPS encrypts a manifest, as it would lie in Git; `sops decrypt FILE | kubectl apply -f -` brings it to kube-apiserver, which encrypts nothing.",
    async bring(api, scratch) {
      const config = join(scratch, "kubeconfig");
      writeFileSync(config, kubeconfig(api), { mode: 0o600 });
      const pipe = 'set -o pipefail; "$0" decrypt "$2" | "$1" apply -f -';
      await run("/bin/bash", ["-c", pipe, findBinary("sops"), findBinary("kubectl"), file], {
        env: { ...process.env, ...env, KUBECONFIG: config },
      });
    },
    beside() {
      const stake = { control: world.control, secrets: [{ what: "the Secret", bytes: value }], keys: [] };
      return findingsIn(filesOf("the file that SOPS wrote", [file], world.control, dir), stake);
    },
    kmsServer: async () => recipient.kmsServer(value),
  };
}

/** @param dir a folder of its own */
export async function sopsTools(world: World, dir: string): Promise<readonly Tool[]> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const recipients = [await ageRecipient(dir), await transitRecipient(world)];
  return await Promise.all(recipients.map((recipient) => toolFor(world, dir, recipient)));
}
