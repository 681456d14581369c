// Claviger: a KMS provider with a plugin for an external KMS.
import { dirname, join } from "node:path";
import { findingsIn, lookAtDisk, lookAtRunning, type Stake } from "../control-plane.ts";
import { type Row, tested } from "../row.ts";
import { filesOf, memoryOf } from "../search.ts";
import type { World } from "../world.ts";

export async function claviger({ dir, lab, api, etcd, vault, gateway, shim, control, ours }: World): Promise<Row> {
  const secrets = [{ what: "the Secret", bytes: ours.value }];
  const stake: Stake = { control, secrets, keys: [{ what: "the seed", bytes: ours.seed }] };
  const scratch = join(dir, "logs");
  const plane = {
    api,
    etcd,
    etcdFiles: join(dir, "etcd"),
    nodeFiles: [join(dir, "kube-apiserver-1"), dirname(shim.config), dirname(lab.pki.ca)],
    stop: () => lab.stop(),
  };
  const running = await lookAtRunning(plane, dir, stake);
  const kms = (place: Parameters<typeof findingsIn>[0]) => findingsIn(place, { control, secrets, keys: [] });
  const openbaoFiles = [join(dir, "openbao", "raft"), vault.auditLog];
  return {
    name: "KMS provider with an external KMS: Claviger",
    setUp:
      "kube-apiserver with KMS v2 on the shim's socket; gateway, OpenBao with Transit, raft storage and a file audit device, Redis. Seeds encrypt Secrets and pass through shim, gateway and OpenBao, which the second table is about; a Secret never leaves kube-apiserver.",
    cells: {
      ...running,
      disk: lookAtDisk(plane, scratch, stake),
      kmsServer: tested(
        kms(memoryOf("memory of OpenBao", vault.proc().pid)),
        kms(filesOf("OpenBao's storage and audit log", openbaoFiles, control, scratch)),
        kms(memoryOf("memory of the gateway", gateway.proc.pid)),
        kms(filesOf("the gateway's files and log", [dirname(gateway.config), gateway.proc.log], control, scratch)),
      ),
    },
  };
}
