// How a stream is served: its caller is held against the table of who may call it, and again each second for as
// long as it lasts; it leaves a record at its start and one at its end.
import type { TLSSocket } from "node:tls";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { AuditEntry } from "@claviger/gateway-core/src/audit/record.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { type Caller, type Callers, checkNeed, type Shown } from "../caller.ts";
import { type FleetStreams, needs, type StreamName, type Subject } from "../method.ts";
import type { Rates } from "../rates.ts";
import { type Refusal, refuse, toRefusal } from "../refusal.ts";
import { entryOf, refusalOf } from "./replies.ts";

/** A certificate that has expired, a CA that is trusted no longer and a role that ended end a stream within this. */
const checkMs = 1000;
/** How long an end that nobody reads may stand; then the connection is closed. */
const unreadMs = 5000;

/** When what the caller has shown ends, Unix milliseconds. */
function endOf(caller: Caller): number {
  switch (caller.kind) {
    case "operator":
      return caller.until;
    case "node":
      return caller.notAfter;
    case "anonymous":
      return Number.POSITIVE_INFINITY;
  }
}

export type StreamCall = {
  readonly socket: TLSSocket | undefined;
  readonly shown: Shown;
  /** Aborts when the caller goes, or its deadline has passed. */
  readonly signal: AbortSignal;
};

export type StreamCalls = {
  /** Rejects with Refusal. */
  run<M extends StreamName>(
    name: M,
    request: Parameters<FleetStreams[M]>[0],
    call: StreamCall,
  ): ReturnType<FleetStreams[M]>;
  /** Ends all of them. */
  close(): void;
};

export function createStreamCalls({
  callerOf,
  streams,
  rates,
  audit,
  onCall,
  log,
}: {
  readonly callerOf: Callers;
  readonly streams: FleetStreams;
  readonly rates: Rates;
  readonly audit: AuditLog;
  readonly onCall: (method: StreamName, result: string) => void;
  readonly log: Log;
}): StreamCalls {
  const closing = new AbortController();

  /** Aborts with the refusal that ends a stream from outside. */
  const watchCaller = (name: StreamName, call: StreamCall, socket: TLSSocket, caller: Caller) => {
    const ended = new AbortController();
    let unread: NodeJS.Timeout | undefined;
    const end = (refusal: Refusal): void => {
      if (ended.signal.aborted) return;
      ended.abort(refusal);
      unread = setTimeout(() => socket.destroy(), unreadMs).unref();
    };
    const judge = async (): Promise<void> => {
      try {
        checkNeed(needs[name], await callerOf(socket, call.shown));
      } catch (error) {
        const refusal = toRefusal(error);
        // Keys of an issuer that cannot be read end nothing that was let in: the token's own end does.
        if (refusal.code !== "unavailable") return end(refusal);
      }
      if (endOf(caller) <= Date.now()) end(refuse("unauthenticated", "the token has expired; get another"));
    };
    const timer = setInterval(() => void judge(), checkMs).unref();
    const close = (): void =>
      end(refuse("unavailable", "the fleet service ends; watch again, from the cursor of the last event"));
    if (closing.signal.aborted) close();
    closing.signal.addEventListener("abort", close, { once: true });
    return {
      signal: ended.signal,
      stop(): void {
        clearInterval(timer);
        clearTimeout(unread);
        closing.signal.removeEventListener("abort", close);
      },
    };
  };

  async function* run<M extends StreamName>(
    name: M,
    request: Parameters<FleetStreams[M]>[0],
    call: StreamCall,
  ): AsyncGenerator {
    const at = Date.now();
    const { socket } = call;
    if (socket === undefined) throw new TypeError("a request without a connection");
    const peer = socket.remoteAddress;
    const subject: Subject = {};
    let caller: Caller | undefined;
    let refusal: Refusal | undefined;
    let count = 0;
    const record = (more: Pick<AuditEntry, "cause" | "count">): Promise<void> =>
      audit.record({ ...entryOf({ at, method: name, peer, caller, subject, refusal }), ...more });
    let watched: ReturnType<typeof watchCaller> | undefined;
    try {
      const known = await callerOf(socket, call.shown);
      caller = known;
      rates.take(known, peer ?? "");
      checkNeed(needs[name], known);
      await record({ cause: "begins" });
      watched = watchCaller(name, call, socket, known);
      const signal = AbortSignal.any([watched.signal, call.signal]);
      for await (const message of streams[name](request, known, subject, signal)) {
        if (signal.aborted) break;
        count += 1;
        yield message;
      }
      if (watched.signal.aborted) throw watched.signal.reason;
    } catch (error) {
      refusal = refusalOf(error, name, log);
      throw refusal;
    } finally {
      watched?.stop();
      onCall(name, refusal?.code ?? "ok");
      const cause = refusal === undefined && { cause: "ended by the caller" };
      // There is nobody left to refuse anything to.
      await record({ ...cause, ...(count > 0 && { count }) }).catch(() => undefined);
    }
  }
  return { run: run as StreamCalls["run"], close: () => closing.abort() };
}
