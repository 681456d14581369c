import assert from "node:assert/strict";
import { ConfigError } from "@claviger/proto/runtime/config.ts";

/** The problems of the ConfigError that it throws; none where it throws nothing. */
export function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.problems;
  }
  return [];
}
