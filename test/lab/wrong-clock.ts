// Preloaded (`node --import`) into a program of ours: its wall clock is wrong by CLAVIGER_TEST_CLOCK_MS. TLS
// and timers have clocks of their own.
const offset = Number(process.env["CLAVIGER_TEST_CLOCK_MS"]);
const Right = Date;

class WrongDate extends Right {
  constructor(...given: readonly unknown[]) {
    super(...((given.length === 0 ? [Right.now() + offset] : given) as [number]));
  }
  static override now(): number {
    return Right.now() + offset;
  }
}
globalThis.Date = WrongDate as DateConstructor;
