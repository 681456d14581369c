// Clocks that step, by libfaketime: of the programs that ask libc for the time. Those in Go (OpenBao, etcd,
// kube-apiserver) ask the kernel, and nothing here can tell them another time.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { logOf } from "../../lab/process-group.ts";
import { anyOf, at, type Fault, restarted } from "../fault.ts";
import { byUse } from "../gateways.ts";
import type { Part, Site } from "../site.ts";

const library = ["x86_64", "aarch64"]
  .map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketimeMT.so.1`)
  .find((file) => existsSync(file));

export const hasFaketime = library !== undefined;

/** How its time is looked up again. */
const cacheMs = 1000;

function clockFile(site: Site, { name }: Part): string {
  return join(site.dir, `${name}.clock`);
}

/** Sets it: `+0` is right, `-2h` two hours behind. */
function setClock(site: Site, part: Part, offset: string): void {
  writeFileSync(clockFile(site, part), offset);
}

/** Whether a part has written a log line at a time that is an hour off: of the rotation, at the latest. */
function isWrong(part: Part): boolean {
  return [...logOf(part.proc()).matchAll(/"time":"([^"]+)"/g)].some(
    ([, time = ""]) => Math.abs(Date.parse(time) - Date.now()) > 3_600_000,
  );
}

/** Starts a part again so that its clock can be set. @returns what starts it as it was */
async function clocked(site: Site, part: Part): Promise<readonly string[]> {
  const { argv } = part.proc();
  setClock(site, part, "+0");
  const preload = [
    `LD_PRELOAD=${library ?? ""}`,
    `FAKETIME_TIMESTAMP_FILE=${clockFile(site, part)}`,
    `FAKETIME_CACHE_DURATION=${cacheMs / 1000}`,
    "FAKETIME_DONT_FAKE_MONOTONIC=1",
  ];
  await restarted(site, part, ["env", ...preload, ...argv]);
  if (!readFileSync(`/proc/${part.proc().pid}/maps`, "utf8").includes("libfaketime"))
    throw new Error(`${part.name} runs without libfaketime`);
  return argv;
}

type Step = {
  readonly id: string;
  readonly name: string;
  readonly left: string;
  readonly offset: string;
  readonly find: (site: Site) => Promise<Part> | Part;
  /** What is started again while its clock is wrong, so that it meets connections that are new. */
  readonly other: (site: Site) => Promise<Part> | Part;
  readonly mayFail?: NonNullable<Fault["mayFail"]>;
  readonly note?: string;
};

function stepped({ offset, find, other, ...rest }: Step): Fault {
  return {
    ...rest,
    needs: ["faketime"],
    async run(site, { hold, over }) {
      const part = await find(site);
      const argv = await clocked(site, part);
      setClock(site, part, offset);
      await sleep(2 * cacheMs);
      await restarted(site, await other(site));
      await hold();
      if (!isWrong(part)) throw new Error(`the clock of ${part.name} did not step`);
      setClock(site, part, "+0");
      over();
      await hold(2 * cacheMs);
      await restarted(site, part, argv);
    },
  };
}

async function used(site: Site): Promise<Part> {
  return at(await byUse(site), 0);
}
const shim = ({ shims }: Site): Part => at(shims, 1);

export const clockFaults: readonly Fault[] = [
  stepped({
    id: "clock-gateway-ahead",
    name: "the clock of a gateway steps two hours ahead, and back",
    left: "the other gateway",
    offset: "+2h",
    find: used,
    other: ({ shims }) => at(shims, 2),
  }),
  stepped({
    id: "clock-gateway-behind",
    name: "the clock of a gateway steps two hours back, and ahead",
    left: "the other gateway",
    offset: "-2h",
    find: used,
    other: ({ shims }) => at(shims, 2),
    note: "clients' certificates are of the future to it",
  }),
  stepped({
    id: "clock-shim-ahead",
    name: "the clock of node 2 steps two hours ahead, and back",
    left: "nothing on node 2",
    offset: "+2h",
    find: shim,
    other: used,
  }),
  stepped({
    id: "clock-shim-behind",
    name: "the clock of node 2 steps two hours back, and ahead",
    left: "nothing on node 2",
    offset: "-2h",
    find: shim,
    other: used,
    mayFail: anyOf("shim-2"),
    note: "gateways' certificates are of the future to it: it has the connections that are open",
  }),
];
