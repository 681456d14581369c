// How a method is called: held against the table of who may, and stopped before a change that takes two.
import { fromJson, toJson } from "@bufbuild/protobuf";
import { FleetService } from "@claviger/proto/gen/claviger/fleet/v1/fleet_pb.ts";
import { checkNeed } from "../caller.ts";
import { type FleetMethods, type UnaryName, needs } from "../method.ts";
import type { FleetEvents } from "../events/events.ts";
import { refuse } from "../refusal.ts";
import type { Approvals, RunApproved } from "./approvals.ts";
import { type Gate, NeedsApproval } from "./gate.ts";

function requestText(method: UnaryName, request: unknown): string {
  return JSON.stringify(toJson(FleetService.method[method].input, request as never));
}

function isMethod(methods: FleetMethods, name: string): name is UnaryName {
  return Object.hasOwn(methods, name);
}

/** Every method behind the table and the gate. @param approvals undefined where nothing takes two */
export function guardMethods(
  methods: FleetMethods,
  gate: Gate,
  { approvals, events }: { readonly approvals: Approvals | undefined; readonly events: FleetEvents | undefined },
): FleetMethods {
  const guarded = <M extends UnaryName>(method: M, run: FleetMethods[M]): FleetMethods[M] =>
    (async (request, caller, subject) => {
      checkNeed(needs[method], caller);
      try {
        const reply = await gate.run({ caller, subject }, () => run(request, caller, subject));
        events?.called(method, caller, subject);
        return reply;
      } catch (error) {
        if (!(error instanceof NeedsApproval) || approvals === undefined || caller.kind !== "operator") throw error;
        const refusal = await approvals.ask(method, requestText(method, request), caller, subject, error);
        if (refusal.approval !== undefined)
          events?.asked(
            caller,
            subject,
            error.targets.map(({ cluster }) => cluster),
          );
        throw refusal;
      }
    }) as FleetMethods[M];
  return Object.fromEntries(
    (Object.keys(methods) as readonly UnaryName[]).map((name) => [name, guarded(name, methods[name])]),
  ) as FleetMethods;
}

/** Makes a change that a second administrator has approved. @param methods those without a guard */
export function createRunApproved(methods: () => FleetMethods, gate: Gate): RunApproved {
  return async (name, request, requester, subject, approved) => {
    const all = methods();
    if (!isMethod(all, name)) throw refuse("failed_precondition", `this release has no method ${name}`);
    const message = fromJson(FleetService.method[name].input, JSON.parse(request) as never);
    checkNeed(needs[name], requester);
    const run = all[name] as (...of: readonly unknown[]) => Promise<unknown>;
    await gate.run({ caller: requester, subject, approved }, () => run(message, requester, subject));
  };
}
