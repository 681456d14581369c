// How long a promise may take to show in a test.
/**
 * What is promised, milliseconds, in the full form; four times as long where other tests have the machine as well, and
 * a process may get no time for seconds.
 */
export function atMost(promisedMs: number): number {
  return process.env["CLAVIGER_TEST_FULL"] === "1" ? promisedMs : 4 * promisedMs;
}
