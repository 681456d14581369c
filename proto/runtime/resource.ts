// What a process says of itself to OpenTelemetry, in traces and metrics alike: the resource attributes of the
// semantic conventions. The only file that imports OpenTelemetry's resources.
import { type Resource, resourceFromAttributes } from "@opentelemetry/resources";

export type Service = {
  /** e.g. `claviger-gateway` */
  readonly name: string;
  readonly version: string;
  /** Tells replicas apart, e.g. the host's name. */
  readonly instance?: string;
  /** Beyond these, of the process for good. */
  readonly labels?: Readonly<Record<string, string>>;
};

/** @returns service.name, service.namespace, service.version and service.instance.id, and the labels as they are */
export function resourceOf({ name, version, instance, labels }: Service): Resource {
  return resourceFromAttributes({
    "service.name": name,
    "service.namespace": "claviger",
    "service.version": version,
    ...(instance !== undefined && { "service.instance.id": instance }),
    ...labels,
  });
}
