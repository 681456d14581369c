// etcd's files on an encrypted file system: Linux' own (fscrypt) where the machine allows it, else a
// stand-in that encrypts the files as they are taken.
import { spawnSync } from "node:child_process";
import { createCipheriv, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { filesUnder } from "../../lab/files.ts";
import {
  findingsIn,
  lookAtRunning,
  plantControl,
  startControlPlane,
  type Stake,
  writeSecret,
} from "../control-plane.ts";
import { type Row, tested } from "../row.ts";
import { type Control, filesOf, filesWithControl, newValue, type Place, textOf } from "../search.ts";

const program = join(import.meta.dirname, "..", "fscrypt.py");

/** The disk as somebody has it who took it, and as root of the running machine sees it. */
type Disk = {
  readonly setUp: string;
  readonly home: string;
  readonly through: readonly string[];
  readonly isStandIn: boolean;
  mounted(pid: number): Place;
  /** Once etcd has ended. */
  taken(): Place;
};

function fscryptDisk(dir: string, control: Control): Disk | undefined {
  const [image, folder, cleartext] = [join(dir, "image"), join(dir, "mount"), join(dir, "cleartext")];
  mkdirSync(folder, { mode: 0o700 });
  writeFileSync(cleartext, textOf(control), { mode: 0o600 });
  const python = "/usr/bin/python3";
  const args = [program, image, folder, cleartext];
  if (spawnSync(python, [...args, "true"], { stdio: "ignore" }).status !== 0) return undefined;
  const home = join(folder, "encrypted");
  return {
    setUp:
      "No EncryptionConfiguration; etcd's files lie in a folder that Linux encrypts (fscrypt on ext4, AES-256-XTS). LUKS encrypts blocks instead of files; nothing else in this row depends on that.",
    home,
    through: [python, ...args],
    isStandIn: false,
    mounted: (pid) =>
      filesWithControl("etcd's files as root of the running machine reads them", [`/proc/${pid}/root${home}/etcd`]),
    taken: () => filesWithControl("the disk, switched off and taken without its key,", [image]),
  };
}

/** Not a file system: shows what lies on a disk that one would have encrypted. */
function standIn(dir: string, control: Control): Disk {
  const [plain, taken] = [join(dir, "plain"), join(dir, "taken")];
  for (const each of [plain, taken]) mkdirSync(each, { mode: 0o700 });
  const key = randomBytes(32);
  return {
    setUp:
      "No EncryptionConfiguration. A stand-in for an encrypted file system, since this machine allows none: etcd's files, each encrypted (AES-256-CTR) as it is taken.",
    home: plain,
    through: [],
    isStandIn: true,
    mounted: () => filesWithControl("etcd's files as root of the running machine reads them", [join(plain, "etcd")]),
    taken() {
      for (const [i, file] of filesUnder(join(plain, "etcd")).entries()) {
        const cipher = createCipheriv("aes-256-ctr", key, randomBytes(16));
        writeFileSync(join(taken, `${i}-${basename(file)}`), cipher.update(readFileSync(file)));
      }
      return filesOf("the files, taken without their key,", [taken], control, dir);
    },
  };
}

/** @param dir a folder of its own */
export async function fileSystem({ dir, control }: { readonly dir: string; readonly control: Control }): Promise<Row> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const disk = fscryptDisk(dir, control) ?? standIn(dir, control);
  const plane = await startControlPlane({ dir, etcdHome: disk.home, etcdThrough: disk.through });
  try {
    const value = newValue();
    await plantControl(plane.api, control);
    await writeSecret(plane.api, "taken", value);
    const stake: Stake = { control, secrets: [{ what: "the Secret", bytes: value }], keys: [] };
    const running = await lookAtRunning(plane, dir, stake);
    const mounted = findingsIn(disk.mounted(plane.etcd.proc.pid), stake).map(
      (finding) => ({ ...finding, gives: "the Secret while mounted" }) as const,
    );
    await plane.stop();
    return {
      name: "File-system encryption",
      setUp: disk.setUp,
      isStandIn: disk.isStandIn,
      cells: {
        ...running,
        disk: tested(findingsIn(disk.taken(), stake), mounted),
        kmsServer: { kind: "absent", why: "there is none" },
      },
    };
  } finally {
    await plane.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}
