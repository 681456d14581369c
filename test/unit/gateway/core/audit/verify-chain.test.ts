// One chain, line by line: what follows a forged, moved or repeated line, and what is known of a chain.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { chainLine, createChain, type ReadLine } from "@claviger/gateway-core/src/audit/chain.ts";
import type { Findings } from "@claviger/gateway-core/src/audit/findings.ts";
import { createChainVerifier } from "@claviger/gateway-core/src/audit/verify-chain.ts";
import { entry, found, key, type Lines, makeAnew, processLines, verify } from "./records.ts";

/** Without the key: its MAC is wrong. */
const forged = (line = ""): string => line.replace('"prod"', '"test"');
/** With the stolen key: another line of the same number, whose MAC is good. */
const alien = (line = ""): string => makeAnew([line], 0, forged, key)[0] ?? "";
const withoutMac = (line = ""): string => line.replace(/,"mac":"[0-9a-f]{64}"/, "");
/** 0 start, 1 to 4 records, 5 head (names 4), 6 to 11 records, 12 end (names 11). */
const genuine = (): Lines => processLines(10, 0).lines;
const findings = async (...files: readonly Lines[]) => found(await verify(files));

suite("A line that is forged", () => {
  test("far ahead of its place is inserted, and the genuine ones go on", async () => {
    const lines = genuine();
    assert.deepEqual(await findings(lines.toSpliced(3, 0, forged(lines[9]))), ["1:4 inserted 9"]);
  });

  test("before the genuine one was put there, and what follows is checked against the genuine one", async () => {
    const lines = genuine();
    assert.deepEqual(await findings(lines.toSpliced(3, 0, forged(lines[3]))), ["1:4 inserted 3"]);
    assert.deepEqual(await findings(lines.toSpliced(3, 1, forged(lines[3]), lines[4] ?? "", lines[3] ?? "")), [
      "1:4 inserted 3",
      "1:7 repeated 4",
    ]);
    const { chain } = JSON.parse(lines[0] ?? "") as { readonly chain: string };
    const loose = chainLine({ chain, sequence: 4, previous: "00".repeat(32) }, entry(4), key).line.trimEnd();
    assert.deepEqual(await findings([...lines.slice(0, 3), forged(lines[3]), lines[3] ?? "", loose]), [
      "1:4 inserted 3",
      "1:6 edited 4",
    ]);
  });

  test("before the genuine one hides neither its repetition nor another line of its number", async () => {
    const lines = genuine();
    const some = [forged(lines[3]), lines[3] ?? "", lines[3] ?? "", alien(lines[3])];
    assert.deepEqual(await findings(lines.toSpliced(3, 1, ...some)), [
      "1:4 inserted 3",
      "1:6 repeated 3",
      "1:7 inserted 3",
    ]);
  });

  test("in a file whose end stands in the next one too hides nothing of what comes there", async () => {
    const lines = genuine();
    const first = lines.slice(0, 8).with(6, forged(lines[6]));
    const second = [...lines.slice(5, 9), lines[6] ?? "", alien(lines[6]), ...lines.slice(9)];
    assert.deepEqual(await findings(first, second), ["1:7 edited 6", "2:5 repeated 6", "2:6 inserted 6"]);
  });

  test("is one that has no MAC after a single one that has it", async () => {
    const lines = genuine();
    assert.deepEqual(await findings(lines.slice(0, 2).with(1, withoutMac(lines[1]))), ["1:2 edited 1"]);
  });
});

suite("A line that was moved", () => {
  test("leaves the others of its gap missing, on both sides of it, and other gaps as they are", async () => {
    const lines = genuine();
    const rest = lines.filter((_, sequence) => ![1, 6, 7, 8].includes(sequence));
    assert.deepEqual(
      new Set(await findings([...rest.slice(0, -1), lines[7] ?? "", lines[12] ?? ""])),
      new Set(["1:9 reordered 7", "1:2 removed 1", "1:6 removed 6", "1:6 removed 8"]),
    );
  });

  test("is repeated where it stands a second time", async () => {
    const lines = genuine();
    const moved = [...lines.toSpliced(3, 1), lines[3] ?? "", lines[4] ?? "", lines[3] ?? ""];
    assert.deepEqual(await findings(moved), ["1:13 reordered 3", "1:14 repeated 4", "1:15 repeated 3"]);
  });

  test("counts with what it says: a signed head, too", async () => {
    const { lines } = processLines(6, 0, { hasEnd: false });
    const at = lines.findIndex((line) => line.includes('"chainHead"'));
    const report = await verify([[...lines.toSpliced(at, 1), lines[at] ?? ""]]);
    assert.deepEqual(found(report), [`1:${lines.length} reordered ${at}`]);
    assert.equal(report.chains[0]?.signed?.sequence, at - 1);
  });

  test("from before the first one that is here is far behind its place", async () => {
    const lines = genuine();
    assert.deepEqual(await findings([...lines.slice(6), lines[2] ?? ""]), ["1:8 reordered 2"]);
  });
});

suite("A line that stands once more", () => {
  test("after new lines of a later file is no rotation", async () => {
    const lines = genuine();
    const [first, second] = [lines.slice(0, 8), lines.slice(8, 10)];
    assert.deepEqual(await findings(first, [...second, second[1] ?? "", ...lines.slice(10)]), ["2:3 repeated 9"]);
  });

  test("at the beginning of a file, after a line that stands nowhere else, is no rotation", async () => {
    const lines = genuine();
    const second = [lines[9] ?? "", ...lines.slice(9)];
    assert.deepEqual(await findings(lines.slice(0, 8), second), ["2:2 repeated 9", "2:1 removed 8"]);
  });

  test("at the beginning of the next file alone was written while the file was rotated", async () => {
    const lines = genuine();
    const report = await verify([lines.slice(0, 8), lines.slice(7)]);
    assert.deepEqual(found(report), []);
    assert.match(report.remarks.map(({ text }) => text).join(), /^record 7 stands at the end of the file before/);
  });
});

suite("The beginning of a chain", () => {
  test("that lacks one record is missing, but for the first line of all", async () => {
    const [lines, other] = [genuine(), genuine()];
    assert.deepEqual(await findings([...lines, ...other.slice(1)]), ["1:14 removed 0"]);
    const report = await verify([lines.slice(1)]);
    assert.deepEqual(found(report), []);
    assert.match(report.remarks.map(({ text }) => text).join(), /begins with record 1: the ones before are not here/);
  });

  test("that names a record before it was edited", async () => {
    const { chain } = JSON.parse(genuine()[0] ?? "") as { readonly chain: string };
    const line = chainLine({ chain, sequence: 0, previous: "00".repeat(32) }, entry(0), key).line.trimEnd();
    assert.deepEqual(await findings([line]), ["1:1 edited 0"]);
  });

  test("may be a head whose record is in an earlier file", async () => {
    const report = await verify([genuine().slice(5, 8)]);
    assert.deepEqual([found(report), report.chains[0]?.signed?.sequence], [[], 4]);
  });
});

suite("What is known of a chain", () => {
  test("is whose it is, from when to when it goes, and whether it has ended", async () => {
    const [whole, cut] = [processLines(3, 0), processLines(3, 100, { hasEnd: false })];
    const { chains } = await verify([[...whole.lines, ...cut.lines]]);
    assert.deepEqual(
      chains.map(({ replica, first, last, isEnded }) => [replica, first, last, isEnded]),
      [
        ["gateway-1", 0, 5, true],
        ["gateway-1", 0, 4, false],
      ],
    );
    assert.deepEqual(
      chains.map(({ from, until }) => [from, until].map((time) => time.slice(14, 19))),
      [
        ["00:00", "00:03"],
        ["01:40", "01:43"],
      ],
    );
  });

  test("is what a sink missed: each run that a record names, and no other number", async () => {
    const chain = createChain(() => key);
    const lines = Array.from({ length: 10 }, (_, n) => chain.append(entry(n)).trimEnd());
    const runs: readonly (readonly [number, number])[] = [
      [0, 1],
      [2, 3],
      [5, 6],
      [8, 8],
      [20, 30],
    ];
    const missing = runs.map(([from, to]) => [from, to] as [number, number]);
    const says = chain.append(entry(10, { method: "audit", outcome: "failed", missing })).trimEnd();
    assert.deepEqual(await findings([...lines.slice(0, 3), ...lines.slice(9), says]), [
      "1:4 removed 4",
      "1:4 removed 7",
    ]);
  });

  test("are the hashes of its last 65,536 records", () => {
    const none: Findings = {
      find: () => assert.fail(),
      findNext: () => assert.fail(),
      remark: () => assert.fail(),
    } as never;
    const verifier = createChainVerifier("c", none);
    for (let sequence = 0; sequence <= 65_536; sequence++) {
      const record = { sequence, previous: sequence === 0 ? "" : `hash ${sequence - 1}`, time: "", method: "encrypt" };
      const line = { record, hash: `hash ${sequence}`, body: undefined } as unknown as ReadLine;
      verifier.add(line, { file: "1", line: sequence + 1 }, "good", sequence === 0, false);
    }
    assert.deepEqual(
      [0, 1, 65_536].map((sequence) => verifier.hashOf(sequence)),
      [undefined, "hash 1", "hash 65536"],
    );
  });
});
