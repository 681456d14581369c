// FleetService: nodes, their tokens and certificates.
import { allow, revoke } from "@claviger/gateway-core/src/registry/edit/nodes.ts";
import type { Enrollment } from "../enrollment.ts";
import type { FleetMethods } from "../method.ts";
import { refuse } from "../refusal.ts";
import type { Scope } from "../scope.ts";
import { asOperator, nodeOf, reasonOf, targetOf } from "./request.ts";

const ttl = { usual: 3600, least: 60, most: 604_800 } as const;

export function nodeMethods({
  scope,
  enrollment,
  trustBundle,
  caPin,
  gateways,
}: {
  readonly scope: Scope;
  readonly enrollment: Enrollment;
  /** PEM. */
  readonly trustBundle: () => string;
  /** Names the certificate of the bundle that this service is verified by. */
  readonly caPin: () => string;
  readonly gateways: readonly string[];
}): Pick<FleetMethods, "getTrustBundle" | "createNodeToken" | "enrollNode" | "renewNode" | "revokeNode" | "allowNode"> {
  return {
    getTrustBundle: () => Promise.resolve({ ca: trustBundle() }),
    async createNodeToken({ cluster, node, ttlSeconds, reason }, caller, subject) {
      const name = nodeOf(node);
      subject.because = reasonOf(reason);
      const seconds = ttlSeconds === 0 ? ttl.usual : ttlSeconds;
      if (seconds < ttl.least || seconds > ttl.most)
        throw refuse("invalid_argument", `ttl_seconds: must be ${ttl.least} to ${ttl.most}`);
      const record = await scope.one(caller, cluster, subject);
      subject.target = `${record.name}/${name}`;
      const { token, expiresAt } = await enrollment.createToken(record, name, seconds, asOperator(caller).operator);
      return { token, expiresAt: { seconds: BigInt(expiresAt), nanos: 0 }, caPin: caPin() };
    },
    async enrollNode({ token, certificateRequest, cluster, node }, _, subject) {
      const enrolled = await enrollment.enroll(token, certificateRequest, { cluster, node });
      subject.target = `${enrolled.cluster}/${enrolled.node}`;
      return { ...enrolled, ca: trustBundle(), gateways: [...gateways] };
    },
    async renewNode({ certificateRequest }, caller, subject) {
      if (caller.kind !== "node") throw refuse("permission_denied", "this method is for nodes");
      subject.target = `${caller.cluster}/${caller.node}`;
      const { certificate } = await enrollment.renew(caller, certificateRequest);
      return { certificate, ca: trustBundle() };
    },
    async revokeNode({ cluster, reason, dryRun, ...who }, caller, subject) {
      const target = targetOf(who);
      subject.because = reasonOf(reason);
      if (target.node !== undefined) subject.target = `${cluster.slice(0, 64)}/${target.node}`;
      return await scope.edit(caller, cluster, subject, revoke(target), { dryRun });
    },
    async allowNode({ cluster, reason, dryRun, ...who }, caller, subject) {
      const target = targetOf(who);
      subject.because = reasonOf(reason);
      if (target.node !== undefined) subject.target = `${cluster.slice(0, 64)}/${target.node}`;
      return await scope.edit(caller, cluster, subject, allow(target), { dryRun });
    },
  };
}
