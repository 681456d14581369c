// Status, and the grace period of an outage: with no gateway to ask, the last good key_id in three
// phases. It opens nothing: no DEK is unwrapped without a gateway. (docs/architecture.md #shim.)
import { isDeepStrictEqual } from "node:util";
import { create } from "@bufbuild/protobuf";
import {
  compareEpochs,
  type Epoch,
  type EpochClaim,
  isPlausibleAfter,
  parseEpoch,
} from "@claviger/proto/wire/epoch.ts";
import { KmsError, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import { type StatusResponse, StatusResponseSchema } from "@claviger/proto/gen/k8s/kms_v2_pb.ts";
import { keyId as keyIdName } from "@claviger/proto/wire/names.ts";
import { kmsVersion } from "@claviger/proto/wire/protocol.ts";
import { formatShimReport, type OutagePhase, type ShimReport } from "@claviger/proto/wire/shim-report.ts";
import { raceAbort } from "@claviger/proto/runtime/abort.ts";
import { createSteadyClock, steadyNow } from "@claviger/proto/runtime/clock.ts";
import { steadyMs } from "@claviger/proto/runtime/end-reports.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { readStatus } from "./gateway-answers.ts";
import { createOutageMemory } from "./outages.ts";
import type { LastGood, StateFile } from "./state-file.ts";
import type { Upstream } from "./upstream.ts";
import type { Answered } from "./gateway.ts";

export interface StatusKeeper {
  /**
   * What kube-apiserver is told now. A caller with less time than a gateway may take is told what
   * was good last, and the question goes on without it.
   * @param signal ends when the caller's time is over
   * @throws KmsError on a refusal, and in the third phase
   */
  status(signal?: AbortSignal): Promise<StatusResponse>;
  /** The highest epoch seen, to send along; undefined before the first. */
  epoch(): EpochClaim | undefined;
  /**
   * Looks at an answer before it counts, and keeps the generation that a refusal names.
   * @throws KmsError gateway_behind when its gateway knows less than was seen: another one is asked
   */
  readonly accept: (answered: Answered) => void;
  /**
   * Takes what an Encrypt's reply said.
   * @throws KmsError gateway_behind when that is older than what was seen
   */
  learn(keyId: string, epoch: EpochClaim | undefined): void;
  readonly outage: () => { readonly phase: OutagePhase; readonly secondsSinceGood: number | undefined };
}

/** A gateway answers Status from memory; one that has not within this time is away. */
const askMs = 900;
/** goodAt moves on with every Status; on the disk it may lag by this much. */
const saveEveryMs = 10_000;

export function createStatusKeeper({
  upstream,
  stateFile,
  grace,
  about,
  log,
  now = createSteadyClock(),
}: {
  readonly upstream: Upstream;
  readonly stateFile: StateFile;
  /** How long the grace period lasts; asked anew each time, since the setting may change. */
  readonly grace: () => { readonly healthyForMs: number; readonly degradedForMs: number };
  /** What gateways are told of this shim with each Status; asked anew each time. Nothing where it is absent. */
  readonly about?: () => Pick<ShimReport, "version" | "config">;
  readonly log: Log;
  /** Unix milliseconds of a clock that is never set: ages must not change with the wall clock. */
  readonly now?: () => number;
}): StatusKeeper {
  let last: LastGood | undefined = stateFile.load();
  let savedAt = last?.goodAt ?? 0;
  let phase: OutagePhase = 0;
  /** What the log said last. */
  let reported: OutagePhase = 0;
  let over: NodeJS.Timeout | undefined;
  const outages = createOutageMemory(now);
  let flight: Promise<StatusResponse> | undefined;

  /** @throws KmsError gateway_behind when the epoch is below the one seen, or further above than can be */
  const assertNotBehind = (given: Epoch | undefined, seen: Epoch | undefined): void => {
    if (seen === undefined) return;
    if (given === undefined || compareEpochs(given, seen) < 0) throw new KmsError("gateway_behind");
    if (isPlausibleAfter(given, seen)) return;
    log.error(
      { event: "epoch-refused", epoch: given.join("."), seen: seen.join(".") },
      "a gateway names an epoch that cannot be; where it is right after all, stop this shim and run it with --forget",
    );
    throw new KmsError("gateway_behind");
  };

  const remember = (next: LastGood): void => {
    const hasChanged =
      last?.keyId !== next.keyId || !isDeepStrictEqual(last.epoch, next.epoch) || last.refused !== next.refused;
    if (last !== undefined && last.keyId !== next.keyId)
      log.info({ event: "key-changed", keyId: next.keyId, from: last.keyId }, "the cluster has a new key_id");
    last = next;
    if (!hasChanged && now() - savedAt < saveEveryMs) return;
    savedAt = now();
    stateFile.save(next);
  };

  const assertEpoch = (claim: EpochClaim | undefined): void =>
    assertNotBehind(parseEpoch(claim?.text), parseEpoch(last?.epoch?.text));

  // A refusal names no versions. One that an older registry gave does not count; a newer generation
  // is kept, and sent along, so that a gateway with an older registry does not serve either.
  const acceptRefusal = (claim: EpochClaim | undefined): void => {
    const [seen, given] = [parseEpoch(last?.epoch?.text), parseEpoch(claim?.text)];
    if (last === undefined || seen === undefined || given === undefined || given[0] === seen[0]) return;
    assertNotBehind([given[0], 0, 0], [seen[0], 0, 0]);
    remember({ ...last, epoch: claim });
  };

  // A gateway of 0.1.0, or one that has no integrity key yet, says the same without the HMAC.
  const withKnownMac = (claim: EpochClaim | undefined): EpochClaim | undefined =>
    claim !== undefined && claim.mac === undefined && claim.text === last?.epoch?.text ? last.epoch : claim;

  // A gateway that confirms the key now and then ends no outage for whoever reads the log.
  const reportOver = (): void => {
    reported = 0;
    log.info({ event: "outage-over", phase: 0 }, "a gateway answers with a fresh key again");
  };
  const enter = (next: OutagePhase, why: string): void => {
    if (next === phase) return;
    phase = next;
    outages.entered(next, last?.goodAt ?? now());
    clearTimeout(over);
    if (next === 0) over = setTimeout(reportOver, steadyMs).unref();
    else if (next !== reported) {
      reported = next;
      const since = last === undefined ? undefined : new Date(last.goodAt).toISOString();
      log.warn(
        { event: "outage-phase", phase: next, since, why },
        "no gateway confirms the key: Status goes on with the last key_id",
      );
    }
  };

  // T is the last moment of which we know that the key was good.
  const duringOutage = (keyId: string, since: number, error: KmsError): StatusResponse => {
    const age = now() - since;
    const { healthyForMs, degradedForMs } = grace();
    if (age < healthyForMs) {
      enter(1, error.reason);
      return create(StatusResponseSchema, { version: kmsVersion, healthz: "ok", keyId });
    }
    if (age < healthyForMs + degradedForMs) {
      enter(2, error.reason);
      return create(StatusResponseSchema, {
        version: kmsVersion,
        healthz: `${error.message} (since ${Math.round(age / 1000)} s)`,
        keyId,
      });
    }
    enter(3, error.reason);
    throw error;
  };

  const accept = ({ method, epoch, reason }: Answered): void => {
    if (reason !== undefined) {
      if (rowOf(reason).kind !== "outage") acceptRefusal(epoch);
      // Whatever decrypts is right: an older gateway's answer too.
    } else if (method !== "decrypt" && method !== "decryptBatch" && method !== "v1Decrypt") assertEpoch(epoch);
  };

  const outage: StatusKeeper["outage"] = () => ({
    phase,
    secondsSinceGood: last === undefined ? undefined : (now() - last.goodAt) / 1000,
  });
  const report = (): string | undefined => {
    if (about === undefined) return undefined;
    const [{ secondsSinceGood }, past] = [outage(), outages.last()];
    return formatShimReport({
      ...about(),
      phase,
      ...(secondsSinceGood !== undefined && { sinceGood: secondsSinceGood }),
      ...(keyIdName.is(last?.keyId) && { keyId: last.keyId }),
      ...(past !== undefined && { lastOutage: past }),
    });
  };

  // Has a time of its own: it is shared, and a caller in a hurry must not put the node into an
  // outage.
  const ask = async (): Promise<StatusResponse> => {
    try {
      const {
        body,
        epoch: said,
        staleForMs,
      } = await upstream.call({
        method: "status",
        body: Buffer.alloc(0),
        deadline: steadyNow() + askMs,
        epoch: last?.epoch,
        report: report(),
        accept,
        hedge: true,
      });
      // Once more: an Encrypt may have shown a newer one meanwhile.
      assertEpoch(said);
      const epoch = withKnownMac(said);
      const response = readStatus(body);
      if (staleForMs !== undefined) {
        // Another gateway, with a way to its backend, may have had fresher word of the same key.
        const known = last?.keyId === response.keyId && last.epoch?.text === epoch?.text ? last.goodAt : 0;
        const goodAt = Math.max(now() - staleForMs, known);
        remember({ keyId: response.keyId, epoch, goodAt });
        return duringOutage(response.keyId, goodAt, new KmsError("backend_unavailable"));
      }
      remember({ keyId: response.keyId, epoch, goodAt: now() });
      enter(0, "");
      return response;
    } catch (thrown) {
      const error = toKmsError(thrown);
      if (last === undefined) throw error;
      const { kind } = rowOf(error.reason);
      if (kind === "refusal") remember({ ...last, refused: error.reason });
      if (kind !== "outage") throw error;
      // An outage takes no refusal back: a suspended cluster whose gateways then vanish stays
      // suspended.
      if (last.refused !== undefined) throw new KmsError(last.refused, { cause: error });
      return duringOutage(last.keyId, last.goodAt, error);
    }
  };

  return {
    async status(signal) {
      flight ??= ask().finally(() => {
        flight = undefined;
      });
      if (signal === undefined) return await flight;
      try {
        return await raceAbort(flight, signal);
      } catch (error) {
        // Not a word of an outage: this caller was in a hurry, and the answer is still to come.
        if (!signal.aborted || last === undefined || last.refused !== undefined) throw error;
        if (phase > 1 || now() - last.goodAt >= grace().healthyForMs) throw error;
        flight.catch(() => {});
        return create(StatusResponseSchema, { version: kmsVersion, healthz: "ok", keyId: last.keyId });
      }
    },
    epoch: () => last?.epoch,
    accept,
    learn(keyId, said) {
      assertEpoch(said);
      const epoch = withKnownMac(said);
      if (last === undefined || keyId !== last.keyId || !isDeepStrictEqual(epoch, last.epoch))
        remember({ keyId, epoch, goodAt: now() });
    },
    outage,
  };
}

/**
 * Ready: Status would say ok, as kube-apiserver sees it: an outage in its first phase is ready.
 * Looks at the last Status, asks for none.
 */
export function readinessOf(status: StatusKeeper): {
  readonly ready: boolean;
  readonly phase: OutagePhase;
  readonly secondsSinceGood: number | null;
} {
  const { phase, secondsSinceGood } = status.outage();
  return { ready: secondsSinceGood !== undefined && phase < 2, phase, secondsSinceGood: secondsSinceGood ?? null };
}
