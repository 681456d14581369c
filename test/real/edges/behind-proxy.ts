// A world in which one thing is reached through a proxy that can do it harm.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { type FaultProxy, startFaultProxy, type Way } from "../../lab/fault-proxy.ts";
import { createProcessGroup, type ProcessGroup } from "../../lab/process-group.ts";
import { type KmsWorld, startKmsWorld } from "./kms-world.ts";
import { type Certificates, createCertificates } from "./tls.ts";

export type BehindProxy = KmsWorld & {
  readonly proxy: FaultProxy;
  readonly certificates: Certificates;
  /** Processes that are no part of the lab. */
  readonly others: ProcessGroup;
};

/**
 * Starts it.
 * @param optionsOf the lab's options; `open` starts the proxy before a port, once
 */
export async function startBehindProxy(
  optionsOf: (
    open: (port: number) => Promise<FaultProxy>,
    certificates: Certificates,
  ) => Parameters<typeof startKmsWorld>[0],
): Promise<BehindProxy> {
  const certificates = await createCertificates();
  let proxy: FaultProxy | undefined;
  const open = async (port: number): Promise<FaultProxy> =>
    (proxy = await startFaultProxy({ target: () => port, pair: certificates.good }));
  const world = await startKmsWorld(optionsOf(open, certificates));
  assert.ok(proxy !== undefined);
  const made: FaultProxy = proxy;
  const others = createProcessGroup(certificates.dir);
  return {
    ...world,
    proxy: made,
    certificates,
    others,
    async stop() {
      await world.stop();
      await others.stopAll();
      await made.close();
      rmSync(certificates.dir, { recursive: true });
    },
  };
}

export const pass = ({ proxy }: Pick<BehindProxy, "proxy">): Promise<void> => proxy.set({ kind: "pass" });

/** The cause and the cure of a cell that the proxy makes. */
export function wayIn<W extends Pick<BehindProxy, "proxy">>(how: Way | ((world: W) => Way)) {
  return {
    cause: (world: W) => world.proxy.set(typeof how === "function" ? how(world) : how),
    cure: pass,
  };
}
