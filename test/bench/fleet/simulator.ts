// A process of simulated shims: does what its parent asks, over IPC. `simulators.ts` starts it.
import { parseCa } from "@claviger/gateway-core/src/pki/authority.ts";
import { createGate } from "@claviger/gateway-core/src/registry/gate.ts";
import { Secret } from "@claviger/proto/runtime/secret.ts";
import type { Load } from "../../lab/load.ts";
import { createNodeCertificates, type NodeCertificates } from "./certificates.ts";
import { openFlood, type OpenFlood } from "./flood.ts";
import { askStatus, restart, type Sealed, sealSeeds, startCalls, startStatuses } from "./loads.ts";
import { createLightShim } from "./light-shim.ts";
import type { Answer, CommandName, Commands, Identity, Question, ShimKind } from "./protocol.ts";
import { createRecorder } from "./recorder.ts";
import { createSimulatedShim, type SimulatedShim } from "./shim.ts";
import { openStream, type RunningStream } from "./stream.ts";

/** Each shim's first Status is asked for until it is good, so often at most. */
const attempts = 60;

const recorder = createRecorder();
const shims: SimulatedShim[] = [];
const certs = new Map<number, string>();
let identities: ReadonlyMap<number, Identity> = new Map();
let issuer: { readonly certificates: NodeCertificates; readonly ca: string; readonly kind: ShimKind } | undefined;
let seeds: readonly (readonly Sealed[])[] = [];
let armed: OpenFlood | undefined;
let streaming: RunningStream | undefined;
let running: Readonly<Record<"statuses" | "calls", Pick<Load, "stop"> | undefined>> = {
  statuses: undefined,
  calls: undefined,
};

function signing(): NonNullable<typeof issuer> {
  if (issuer === undefined) throw new TypeError("sign first");
  return issuer;
}

async function sign({ ca, identities: all, kind }: Commands["sign"]["ask"]): Promise<number> {
  const [first] = all;
  const began = performance.now();
  if (first !== undefined) {
    const authority = parseCa({ cert: ca.cert, key: new Secret(ca.key) });
    const certificates = await createNodeCertificates(authority, first);
    issuer = { certificates, ca: ca.cert, kind };
    identities = new Map(all.map((identity) => [identity.index, identity]));
    for (const { index, cluster, node } of all) certs.set(index, certificates.issue(cluster, node));
  }
  return performance.now() - began;
}

function startShim(identity: Identity): SimulatedShim {
  const { certificates, ca, kind } = signing();
  const tls = { cert: certs.get(identity.index) ?? "", key: certificates.key, ca };
  return kind === "light"
    ? createLightShim(identity, tls, () => recorder.connected())
    : createSimulatedShim(identity, tls);
}

/**
 * Some at a time, and each asks once its connections are there, as a fleet is that has been running: a shim
 * that is asked while it connects makes another connection.
 */
async function connect(indices: readonly number[], atOnce: number): Promise<number> {
  let failed = 0;
  const firstStatus = async (shim: SimulatedShim): Promise<void> => {
    for (let i = 0; i < attempts && !(await askStatus(shim, recorder)); i += 1) failed += 1;
  };
  for (let at = 0; at < indices.length; at += atOnce) {
    const own = indices.slice(at, at + atOnce).flatMap((index) => identities.get(index) ?? []);
    // Each gateway is probed once.
    const probed = recorder.answered(own.flatMap(({ gateways }) => gateways).length);
    const started = own.map(startShim);
    shims.push(...started);
    if (own.length > 0 && signing().kind === "own") await probed;
    await Promise.all(started.map(firstStatus));
  }
  return failed;
}

async function run(name: "statuses" | "calls", perSecond: number): Promise<void> {
  const start = { statuses: startStatuses, calls: startCalls }[name];
  const before = running[name];
  running = { ...running, [name]: perSecond > 0 ? start(shims, perSecond, recorder) : undefined };
  await before?.stop();
}

async function restartAll(copies: number, isCold: boolean): Promise<readonly number[]> {
  if (isCold) await Promise.all(shims.splice(0).map((shim) => shim.close()));
  return await Promise.all(
    seeds.map((own) => {
      const [seed] = own;
      if (seed === undefined) throw new TypeError("an apiserver without seeds");
      if (!isCold) return restart(seed.shim, own, copies, recorder);
      const shim = startShim(seed.shim.identity);
      shims.push(shim);
      return restart(shim, own, copies, recorder);
    }),
  );
}

type Handlers = { readonly [N in CommandName]: (ask: Commands[N]["ask"]) => Promise<Commands[N]["answer"]> };

const handlers: Handlers = {
  sign,
  connect: ({ indices, atOnce }) => connect(indices, atOnce),
  statuses: (perSecond) => run("statuses", perSecond),
  calls: (perSecond) => run("calls", perSecond),
  async seal(count) {
    const gate = createGate(16);
    seeds = await Promise.all(shims.map((shim) => gate(() => sealSeeds(shim, count, recorder))));
  },
  restart: ({ copies, isCold }) => restartAll(copies, isCold),
  async openFlood(ask) {
    armed = await openFlood(ask, signing().certificates, signing().ca);
  },
  async flood() {
    if (armed === undefined) throw new TypeError("open the flood first");
    return await armed.run();
  },
  async stream(ask) {
    const heldBack = (await streaming?.stop()) ?? 0;
    streaming = ask === null ? undefined : await openStream(ask, [...identities.values()], signing(), recorder);
    return heldBack;
  },
  take: () => Promise.resolve(recorder.take()),
};

async function answer(question: Question): Promise<Answer> {
  try {
    const handle = handlers[question.name] as (ask: unknown) => Promise<unknown>;
    return { value: await handle(question.ask) };
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

process.on("message", ({ id, question }: { readonly id: number; readonly question: Question }) => {
  // A parent that has left needs no answer.
  void answer(question).then((given) => process.send?.({ id, given }, undefined, undefined, () => {}));
});
process.once("disconnect", () => process.exit(0));
