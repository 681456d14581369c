// How a call that is answered once is served: its caller is found, the method held against the table of who may call
// it, and whatever comes of it leaves a record.
import type { TLSSocket } from "node:tls";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import type { Caller, Callers, Shown } from "../caller.ts";
import type { FleetMethods, Subject, UnaryName } from "../method.ts";
import type { Rates } from "../rates.ts";
import { type Refusal, toRefusal } from "../refusal.ts";
import { entryOf, refusalOf } from "./replies.ts";

export type UnaryCalls = {
  /** Rejects with Refusal. */
  run<M extends UnaryName>(
    name: M,
    request: Parameters<FleetMethods[M]>[0],
    call: { readonly socket: TLSSocket | undefined; readonly shown: Shown },
  ): ReturnType<FleetMethods[M]>;
};

export function createUnaryCalls({
  callerOf,
  methods,
  rates,
  audit,
  onCall,
  log,
}: {
  readonly callerOf: Callers;
  readonly methods: FleetMethods;
  readonly rates: Rates;
  readonly audit: AuditLog;
  readonly onCall: (method: UnaryName, result: string) => void;
  readonly log: Log;
}): UnaryCalls {
  const run = async (
    name: UnaryName,
    request: unknown,
    { socket, shown }: { readonly socket: TLSSocket | undefined; readonly shown: Shown },
  ): Promise<unknown> => {
    const at = Date.now();
    const subject: Subject = {};
    let caller: Caller | undefined;
    let refusal: Refusal | undefined;
    let reply: unknown;
    try {
      if (socket === undefined) throw new TypeError("a request without a connection");
      const known = await callerOf(socket, shown);
      caller = known;
      rates.take(known, socket.remoteAddress ?? "");
      const method = methods[name] as (...of: readonly unknown[]) => Promise<unknown>;
      reply = await method(request, known, subject);
    } catch (error) {
      refusal = refusalOf(error, name, log);
    }
    try {
      await audit.record(entryOf({ at, method: name, peer: socket?.remoteAddress, caller, subject, refusal }));
    } catch (error) {
      refusal = toRefusal(error);
    }
    onCall(name, refusal?.code ?? "ok");
    if (refusal !== undefined) throw refusal;
    return reply;
  };
  return { run: run as UnaryCalls["run"] };
}
