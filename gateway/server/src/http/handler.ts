// One request from its headers to its last byte: identify, admit, read, execute, encode, audit,
// send, dispose. The whole way stands in `handle`, top to bottom; nothing of it is in a hook.
// (docs/architecture.md #hops.)
import type { IncomingMessage, ServerResponse } from "node:http";
import type { TLSSocket } from "node:tls";
import type { AuditLog } from "@claviger/gateway-core/src/audit/log.ts";
import type { AuditEntry, CallEntry } from "@claviger/gateway-core/src/audit/record.ts";
import type { Identity } from "@claviger/gateway-core/src/identity.ts";
import type { NodeReports } from "@claviger/gateway-core/src/redis/node-reports.ts";
import { raceAbort } from "@claviger/proto/runtime/abort.ts";
import { steadyNow } from "@claviger/proto/runtime/clock.ts";
import type { Log } from "@claviger/proto/runtime/log.ts";
import { RequestScope } from "@claviger/proto/runtime/request-scope.ts";
import type { Attributes, Tracing } from "@claviger/proto/runtime/tracing.ts";
import { type Epoch, epochHeaders, readEpochClaim } from "@claviger/proto/wire/epoch.ts";
import { KmsError, type Reason, rowOf, toKmsError } from "@claviger/proto/wire/errors.ts";
import type { ClusterUid } from "@claviger/proto/wire/names.ts";
import { contentTypes, headers, limits, type Method, methods as paths } from "@claviger/proto/wire/protocol.ts";
import type { CallCounts } from "../call-counts.ts";
import type { Admission, Admitted } from "../kms/admission.ts";
import type { Overload, Place } from "../kms/overload.ts";
import type { CallOperation, Metrics } from "../metrics.ts";
import { type Bodies, discardBody } from "./bodies.ts";
import { encodeError, encodingOf, parseTimeout } from "./connect.ts";
import type { Identifier } from "./identifier.ts";
import type { CallRecord, KmsMethod, MethodContext, MethodReply } from "./methods.ts";
import type { Turns } from "./turns.ts";

/** What leaves: a status, headers, and bytes that the scope zeroizes. */
type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | string;
};

/** A method's name, or `unknown`: what is asked for is not served. */
export type MethodName = Method | "unknown";

/**
 * Answers one request, whatever comes. Never rejects.
 * @param failure what is wrong with the request already, where that was found before the handler
 */
export type Handler = (
  method: MethodName,
  request: IncomingMessage,
  response: ServerResponse,
  failure?: KmsError,
) => Promise<void>;

export type HandlerOptions = {
  readonly identify: Identifier;
  readonly admission: Admission;
  readonly overload: Overload;
  readonly turns: Turns;
  readonly bodies: Bodies;
  readonly methods: Readonly<Record<Method, KmsMethod>>;
  readonly audit: AuditLog;
  readonly nodes: NodeReports;
  readonly counts: CallCounts;
  readonly metrics: Metrics;
  readonly tracing: Tracing;
  readonly log: Log;
  readonly isDraining: () => boolean;
  /** Milliseconds that a caller has to take its reply; then its connection is closed. */
  readonly sendMs: number;
};

/** The longest that a call may take, whatever its caller says. */
const longestMs = 10_000;
/** A body of a refused request that is read over; a longer one ends its connection. */
const discardBytes = 64 * 1024;

function attributesOf(identity: Identity): Attributes {
  return identity.kind === "node"
    ? { "claviger.cluster": identity.cluster, "claviger.node": identity.node }
    : { "claviger.operator": identity.operator };
}

function callEntryOf({ reason, ...fields }: CallRecord): CallEntry {
  return { ...fields, outcome: reason === undefined ? "ok" : rowOf(reason).outcome, ...(reason && { reason }) };
}

function isCompressed({ headers: given }: IncomingMessage): boolean {
  return (given["content-encoding"] ?? "identity") !== "identity";
}

export function createHandler(options: HandlerOptions): Handler {
  const { identify, admission, overload, turns, bodies, methods, audit, nodes, metrics, tracing, log } = options;
  const { counts, isDraining, sendMs } = options;

  const failureOf = (method: MethodName, thrown: unknown): { readonly answer: Answer; readonly reason: Reason } => {
    const error = toKmsError(thrown);
    if (error.reason === "internal")
      log.error({ event: "internal-error", method, err: error }, "a request failed for a reason that has no name");
    else log.debug({ event: "request-failed", method, err: error }, "a request failed");
    const { status, body } = encodeError(error);
    const answer = {
      status,
      headers: { "content-type": contentTypes.json, [headers.reason]: error.reason },
      body,
    };
    return { answer, reason: error.reason };
  };

  return async function handle(method, request, response, failure) {
    const at = Date.now();
    const waitedMs = turns.waitedMs();
    const scope = new RequestScope(longestMs);
    const calls: CallRecord[] = [];
    let identity: Identity | undefined;
    let uid: ClusterUid | undefined;
    let epoch: Epoch | undefined;
    let answer: Answer;
    let reason: Reason | undefined;
    let place: Place | undefined;
    /** When the whole request was there: how slowly a caller sends is no work of ours. */
    let readAtMs = 0;
    const onClose = (): void => {
      if (!response.writableFinished) scope.cancel();
    };
    response.on("close", onClose);
    metrics.started();
    try {
      try {
        identity = identify(request.socket as TLSSocket, request.headers["x-forwarded-client-cert"]);
        // One path for each method: what a router would decode or normalise into it is another one.
        const known = method === "unknown" || request.url !== paths[method] ? undefined : methods[method];
        const loading = admission.ready(identity);
        if (loading !== undefined) await raceAbort(loading, scope.signal);
        const seen = admission.seen(identity, readEpochClaim(request.headers));
        if (admission.isBehind(identity, seen)) await raceAbort(admission.catchUp(identity), scope.signal);
        const admitted: Admitted = admission.admit(identity, known?.operation ?? "none");
        ({ uid } = admitted.cluster);
        if (failure !== undefined) throw failure;
        if (known === undefined) throw new KmsError("method_unknown");
        const encoding = encodingOf(request.headers["content-type"]);
        if (isCompressed(request)) throw new KmsError("method_unknown", { cause: new Error("a compressed body") });
        scope.limit(parseTimeout(request.headers[headers.timeout], longestMs) - waitedMs);
        const { cluster, node } = admitted;
        if (method === "status")
          nodes.seen({ cluster: cluster.uid, node, certificate: identity, header: request.headers[headers.shim] });
        // A Status is answered from memory, and an apiserver without it is not ready.
        else place = await overload.enter({ cluster: cluster.uid, leftMs: scope.leftMs, signal: scope.signal });
        const limit = encoding === "json" ? limits.jsonMessage : known.bodyBytes;
        const body = scope.zeroizeLater(
          await bodies.read(request, { identity: `${cluster.uid}/${node}`, limit, signal: scope.signal }),
        );
        readAtMs = scope.elapsedMs;
        const deadline = steadyNow() + Math.floor(scope.leftMs);
        const context: MethodContext = {
          scope,
          newCall: () => {
            const fields: CallRecord = {};
            calls.push(fields);
            const onEpoch = (next: Epoch): void => {
              epoch = next;
            };
            return { cluster, node, seen, signal: scope.signal, deadline, fields, onEpoch };
          },
          charge: (count) => {
            admission.charge(cluster, count);
            place?.grow(count);
          },
        };
        const parent = request.headers[headers.traceparent];
        const rpc = { system: "connectrpc", method: paths[method as Method].slice(1) } as const;
        const reply: MethodReply = await tracing.span(
          rpc.method,
          {
            kind: "server",
            rpc,
            parent: typeof parent === "string" ? parent : undefined,
            attributes: attributesOf(identity),
          },
          () => raceAbort(known.run(context, body, encoding), scope.signal),
        );
        answer = {
          status: 200,
          headers: { "content-type": contentTypes[encoding], ...reply.headers },
          body: reply.body,
        };
        // A batch of which nothing could be served is not `ok`.
        if (calls.every((call) => call.reason !== undefined)) reason = calls[0]?.reason;
      } catch (thrown) {
        ({ answer, reason } = failureOf(method, thrown));
      }
      try {
        await audit.record(entryOf());
      } catch (thrown) {
        ({ answer, reason } = failureOf(method, thrown));
      }
      place?.leave(reason === undefined ? waitedMs + scope.elapsedMs - readAtMs : undefined);
      await send(answer);
    } finally {
      scope.dispose();
      response.off("close", onClose);
      metrics.finished(method, reason ?? "ok", scope.elapsedMs);
      const operation = method === "unknown" ? "none" : methods[method].operation;
      const known = uid ?? (identity && admission.clusterOf(identity));
      counts.add(known, operation, calls, reason);
      if (known !== undefined && identity?.kind === "node" && operation !== "none")
        countCalls(identity.cluster, operation);
    }

    function countCalls(cluster: string, operation: CallOperation): void {
      // Most calls of a batch end alike, and each addition looks its labels up.
      const ends = new Map<Reason | undefined, number>(calls.length === 0 ? [[reason, 1]] : []);
      for (const call of calls) {
        const end = call.reason ?? reason;
        ends.set(end, (ends.get(end) ?? 0) + 1);
      }
      for (const [end, count] of ends) metrics.clusterCalled(cluster, operation, end, count);
    }

    function entryOf(): AuditEntry {
      // What was under way, or done and not handed over, when the request failed has failed with it.
      const entries = calls.map((call) => callEntryOf(reason === undefined ? call : { reason, ...call }));
      const uids = calls.flatMap(({ uid }) => (uid === undefined ? [] : [uid]));
      const [first, ...others] = entries;
      // The call of a single request is told by the record itself.
      const { uid: _, outcome: __, reason: ___, ...only }: Partial<CallEntry> = first ?? {};
      return {
        at,
        method,
        outcome: reason === undefined ? "ok" : rowOf(reason).outcome,
        ...(reason !== undefined && { reason }),
        milliseconds: Math.round(scope.elapsedMs * 100) / 100,
        ...(identity?.kind === "node" && { cluster: identity.cluster, node: identity.node }),
        ...(identity?.kind === "operator" && { operator: identity.operator }),
        ...(identity !== undefined && { serial: identity.serial }),
        ...(uids.length > 0 && { uids }),
        ...(method === "decryptBatch" || method === "encryptBatch"
          ? { count: calls.length, calls: entries }
          : others.length === 0 && only),
        ...(request.socket.remoteAddress !== undefined && { peer: request.socket.remoteAddress }),
      };
    }

    // Resolves when the bytes have left the process or never will: until then they must not be
    // zeroized. A caller that does not take them is not waited for.
    function send({ status, headers: own, body }: Answer): Promise<void> {
      return new Promise((resolve) => {
        const isRead = request.readableEnded;
        if (response.destroyed || response.headersSent) {
          if (!isRead) discardBody(request);
          return resolve();
        }
        const timer = setTimeout(() => response.destroy(), sendMs);
        const onEnd = (): void => {
          clearTimeout(timer);
          resolve();
        };
        response.once("close", onEnd).once("finish", onEnd);
        const isNamed = epoch !== undefined || reason !== undefined;
        const claim = identity !== undefined && isNamed ? admission.claim(identity, epoch) : undefined;
        const isLong = !request.complete && !(Number(request.headers["content-length"]) <= discardBytes);
        response.writeHead(status, {
          ...own,
          ...epochHeaders(claim),
          ...((isLong || isDraining()) && { connection: "close" }),
          "content-length": Buffer.byteLength(body),
        });
        response.end(body);
        if (!isRead) discardBody(request);
        return undefined;
      });
    }
  };
}
