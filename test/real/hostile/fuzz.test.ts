// Some hundred hostile inputs for each service that runs, the same in every run; `npm run fuzz -- SERVICE` has no
// end to them.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { corpusOf } from "../../fuzz/corpus.ts";
import { services } from "../../fuzz/services.ts";
import { describeReport, fuzzService } from "../../fuzz/services/service.ts";
import { shallow } from "../../fuzz/target.ts";

const cases = process.env["CLAVIGER_TEST_FULL"] === "1" ? 10_000 : 600;

for (const service of services)
  test(`${service.name} stays well under ${cases} hostile inputs`, async (t) => {
    const dir = await mkdtemp(join(tmpdir(), "claviger-"));
    const running = await service.start(dir);
    t.after(async () => {
      await running.stop();
      await rm(dir, { recursive: true, force: true });
    });
    const kept = corpusOf({ name: service.name, seeds: () => running.inputs });
    const report = await fuzzService({ ...running, inputs: kept }, { cases, seed: 1 });
    console.log(`${service.name}: ${describeReport(report)}`);
    assert.deepEqual(report.findings, []);
    assert.equal(report.cases, cases);
    assert.deepEqual(shallow(service.depths, report.ends), []);
  });
