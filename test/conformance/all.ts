// The forty checks, in order.
import type { Check } from "./check.ts";
import { cryptChecks } from "./crypt.ts";
import { failureChecks } from "./failure.ts";
import { lifecycleChecks } from "./lifecycle.ts";
import { rotationChecks } from "./rotation.ts";
import { statusChecks } from "./status.ts";
import { transportChecks } from "./transport.ts";
import { v1Checks } from "./v1.ts";

export const allChecks: readonly Check[] = [
  ...lifecycleChecks,
  ...transportChecks,
  ...statusChecks,
  ...cryptChecks,
  ...rotationChecks,
  ...v1Checks,
  ...failureChecks,
];
