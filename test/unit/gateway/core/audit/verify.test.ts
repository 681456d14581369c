// Every kind of tampering with audit records is found and named, and what crashes and rotations leave
// behind is not taken for it.
import { createSecretKey } from "node:crypto";
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createChain, lineHash } from "@claviger/gateway-core/src/audit/chain.ts";
import { entry, found, headEntry, key, keys, type Lines, makeAnew, noKeys, processLines, verify } from "./records.ts";

// Two processes of one gateway, in three files.
//
//   file 1: 1 start 0, 2..5 records 1..4, 6 head 5 (names 4), 7..8 records 6..7
//   file 2: 1..4 records 8..11, 5 end 12 (names 11); of the second process: 6 start 0, 7..8 records 1..2
//   file 3: 1 record 3, 2 head 4 (names 3), 3..7 records 5..9, 8 end 10 (names 9)
function genuine(): Lines[] {
  const first = processLines(10, 0);
  const second = processLines(8, 100, { earlier: [first.head] });
  const all = [...first.lines, ...second.lines];
  return [all.slice(0, 8), all.slice(8, 16), all.slice(16)];
}

function edit(line: string): string {
  return line.replace('"prod"', '"test"');
}

function withoutMac(line: string): string {
  return line.replace(/,"mac":"[0-9a-f]{64}"/, "");
}

type Tamper = {
  readonly what: string;
  readonly change: (one: Lines, two: Lines, three: Lines) => readonly Lines[];
  readonly says: readonly string[];
};

const table: readonly Tamper[] = [
  {
    what: "a field is edited",
    change: (one, two, three) => [one.with(2, edit(one[2] ?? "")), two, three],
    says: ["1:3 edited 2"],
  },
  {
    what: "a field is edited, and all lines after it chained anew without the key",
    change: (one, two, three) => [makeAnew(one, 2, edit, createSecretKey(Buffer.alloc(32))), two, three],
    says: [3, 4, 5, 6, 7, 8].map((line) => `1:${line} edited ${line - 1}`),
  },
  {
    what: "a line is removed",
    change: (one, two, three) => [one.toSpliced(3, 1), two, three],
    says: ["1:4 removed 3"],
  },
  {
    what: "several lines are removed, at the end of a file and the beginning of the next",
    change: (one, two, three) => [one.slice(0, -1), two.slice(2), three],
    says: ["2:1 removed 7-9"],
  },
  {
    what: "a whole file is removed from among the others",
    change: (one, _, three) => [one, three],
    says: ["2:1 removed 0-2"],
  },
  {
    what: "two lines change places",
    change: (one, two, three) => [one.with(2, one[3] ?? "").with(3, one[2] ?? ""), two, three],
    says: ["1:4 reordered 2"],
  },
  {
    what: "a line is moved far away",
    change: (one, two, three) => [one.toSpliced(2, 1), two.toSpliced(2, 0, one[2] ?? ""), three],
    says: ["2:3 reordered 2"],
  },
  {
    what: "two files change places",
    change: (one, two, three) => [one, three, two],
    says: ["3:6 reordered 0-2"],
  },
  {
    what: "a line is repeated at once",
    change: (one, two, three) => [one.toSpliced(3, 0, one[2] ?? ""), two, three],
    says: ["1:4 repeated 2"],
  },
  {
    what: "lines are repeated later on",
    change: (one, two, three) => [one, two.toSpliced(2, 0, ...one.slice(2, 4)), three],
    says: ["2:3 repeated 2-3"],
  },
  {
    what: "lines of long before are repeated at the beginning of a file",
    change: (one, two, three) => [one, [...one.slice(1, 3), ...two], three],
    says: ["2:1 repeated 1-2"],
  },
  {
    what: "a line without a MAC is inserted",
    change: (one, two, three) => [one.toSpliced(3, 0, withoutMac(edit(one[3] ?? ""))), two, three],
    says: ["1:4 inserted 3"],
  },
  {
    what: "a line with a made-up MAC is inserted",
    change: (one, two, three) => [one.toSpliced(3, 0, edit(one[3] ?? "")), two, three],
    says: ["1:4 inserted 3"],
  },
  {
    what: "a line of the same number is inserted after the genuine one",
    change: (one, two, three) => [one.toSpliced(4, 0, edit(one[3] ?? "")), two, three],
    says: ["1:5 inserted 3"],
  },
  {
    what: "a field is edited of a record that stands in the next file as well",
    change: (one, two, three) => [one.with(6, edit(one[6] ?? "")), [...one.slice(4), ...two], three],
    says: ["1:7 edited 6"],
  },
  {
    what: "a chain of an attacker's own is inserted",
    change: (one, two, three) => [
      [...one, makeAnew(processLines(1, 50).lines, 0, String, createSecretKey(Buffer.alloc(32)))[0] ?? ""],
      two,
      three,
    ],
    says: ["1:9 inserted"],
  },
  {
    what: "a line that is no record is inserted",
    change: (one, two, three) => [one.toSpliced(3, 0, '{"method":"encrypt"}'), two, three],
    says: ["1:4 inserted"],
  },
  {
    what: "a fragment is inserted where nothing is missing",
    change: (one, two, three) => [one.toSpliced(3, 0, (one[3] ?? "").slice(0, 40)), two, three],
    says: ["1:4 inserted"],
  },
  {
    what: "a line is cut off, as if its write had broken off",
    change: (one, two, three) => [one.with(3, (one[3] ?? "").slice(0, 40)), two, three],
    says: ["1:5 removed 3"],
  },
  {
    what: "the MAC is taken off a line",
    change: (one, two, three) => [one.with(3, withoutMac(one[3] ?? "")), two, three],
    says: ["1:4 edited 3"],
  },
  {
    what: "the end of a chain is cut off",
    change: (one, two, three) => [one, two.toSpliced(2, 3), three],
    says: ["2:2 truncated 10-12"],
  },
  {
    what: "a whole chain is removed",
    change: (_, two, three) => {
      const [first, second] = [processLines(3, -100), [...two.slice(5), ...three]];
      return [first.lines, second];
    },
    says: ["2:1 removed 12"],
  },
  {
    what: "records are edited and made anew with the stolen key, and signed heads left out",
    change: (one, two, three) => [makeAnew(one, 2, edit, key), two, three],
    // The head in the same file names what was signed; in the next file nothing fits any more.
    says: ["1:6 edited 4", "2:1 edited 8"],
  },
  {
    what: "a head's signature is made up with the stolen key",
    change: (one, two, three) => [
      one,
      two,
      makeAnew(three, 7, (line) => line.replace(/"signature":"../, '"signature":"00'), key),
    ],
    says: ["3:8 unsigned 9"],
  },
];

suite("Tampering with audit records", () => {
  test("there are at least twelve kinds, and untouched records are as they were written", async () => {
    assert.ok(table.length >= 12);
    const report = await verify(genuine());
    assert.deepEqual([found(report), report.unchecked, report.remarks], [[], [], []]);
    assert.equal(report.records, 24);
    assert.deepEqual(
      report.chains.map(({ records, isEnded, keyed, signed }) => [records, isEnded, keyed, signed?.sequence]),
      [
        [13, true, 13, 11],
        [11, true, 11, 9],
      ],
    );
  });
  for (const { what, change, says } of table)
    test(what, async () => {
      const [one = [], two = [], three = []] = genuine();
      assert.deepEqual(found(await verify(change(one, two, three))), says);
    });
});

/** Lines of a chain whose key becomes known after `late` records. */
function lateKey(count: number, late: number): Lines {
  let n = 0;
  const chain = createChain(() => (n > late ? key : undefined));
  const lines: Lines = [];
  for (; n < count; n++) lines.push(chain.append(entry(n)).trimEnd());
  return [...lines, chain.append(headEntry(chain, n)).trimEnd()];
}

suite("What is no tampering with audit records", () => {
  const quiet = async (files: readonly Lines[], remarks: readonly string[]): Promise<void> => {
    const report = await verify(files);
    assert.deepEqual(found(report), []);
    assert.deepEqual(
      report.remarks.map(({ file, line, text }) => `${file}:${line} ${text}`),
      remarks,
    );
  };
  const half = (line = ""): string => line.slice(0, line.length / 2);

  test("a process that was killed in the middle of a write, and the one after it", async () => {
    const { lines } = processLines(6, 0, { hasEnd: false });
    await quiet([[...lines, half(lines[3])]], ["1:9 a record that was not written to its end"]);
    const last = JSON.parse(lines.at(-1) ?? "") as { readonly chain: string; readonly sequence: number };
    const hash = lineHash(lines.at(-1) ?? "");
    const next = processLines(2, 50, { earlier: [{ chain: last.chain, sequence: last.sequence, hash }] });
    await quiet([[...lines, half(lines[3]), ...next.lines]], ["1:9 a record that was not written to its end"]);
  });

  test("a batch that was written in part, and the record that says which numbers the sink misses", async () => {
    const chain = createChain(() => key);
    const lines = Array.from({ length: 8 }, (_, n) => chain.append(entry(n)).trimEnd());
    const gap = chain.append(entry(9, { method: "audit", outcome: "failed", count: 3, missing: [[5, 7]] })).trimEnd();
    const after = chain.append(entry(10)).trimEnd();
    await quiet([[...lines.slice(0, 6), half(lines[6]), gap, after]], ["1:7 a record that was not written to its end"]);
    assert.deepEqual(
      found(await verify([[...lines.slice(0, 4), gap, after]])),
      ["1:5 removed 4"],
      "one more than it says",
    );
  });

  test("a file that was renamed while it was written: the last lines stand in the next one as well", async () => {
    const [one = [], two = [], three = []] = genuine();
    const text = "stand at the end of the file before as well: it was rotated while they were written";
    await quiet([one, [...one.slice(-2), ...two], three], [`2:1 records 6 to 7 ${text}`]);
    await quiet([one, one, two, three], [`2:1 records 0 to 7 ${text}`]);
  });

  test("a file that was truncated while it was copied: the copy lacks lines, which stand in the next one", async () => {
    const [one = [], two = [], three = []] = genuine();
    const text = "stand at the end of the file before as well: it was rotated while they were written";
    await quiet(
      [[...one.slice(0, 5), half(one[5])], [...one.slice(2), ...two], three],
      ["1:6 a record that was not written to its end", `2:1 records 2 to 4 ${text}`],
    );
  });

  test("a file that was rotated in a process' first seconds: what was written before the key was known stands there again", async () => {
    const lines = lateKey(8, 3);
    const text = "stand at the end of the file before as well: it was rotated while they were written";
    await quiet([lines.slice(0, 6), lines], [`2:1 records 0 to 5 ${text}`]);
  });

  test("files whose first ones are gone", async () => {
    const [, two = [], three = []] = genuine();
    const { chain } = JSON.parse(two[0] ?? "") as { readonly chain: string };
    await quiet([two, three], [`1:1 chain ${chain} begins with record 8: the ones before are not here`]);
  });

  test("another sink that ended elsewhere", async () => {
    const first = processLines(4, 0);
    const elsewhere = { ...first.head, sequence: 99, hash: "00".repeat(32) };
    const second = processLines(2, 50, { earlier: [elsewhere, first.head] });
    await quiet([[...first.lines, ...second.lines]], []);
  });
});

suite("Audit records that cannot be checked in full", () => {
  test("of a key that became known late, what was written before is vouched for by what came after", async () => {
    const lines = lateKey(8, 3);
    const report = await verify([lines]);
    assert.deepEqual([found(report), report.unchecked], [[], []]);
    assert.equal(report.chains[0]?.keyed, 5);
    assert.deepEqual(found(await verify([lines.with(1, edit(lines[1] ?? ""))])), ["1:2 edited 1"]);
    assert.deepEqual(found(await verify([lines.with(3, edit(lines[3] ?? ""))])), ["1:4 edited 3"]);
    assert.deepEqual(found(await verify([makeAnew(lines.slice(0, 4), 1, edit).concat(lines.slice(4))])), [
      "1:4 edited 3",
    ]);
  });

  test("a chain without a key is checked by its hashes, and said to be one that anybody can make anew", async () => {
    const { lines } = processLines(8, 0, { isKeyed: false });
    const report = await verify([lines]);
    assert.deepEqual(found(report), []);
    assert.match(report.unchecked.join(), /its 10 records have no MAC; who can write to the file/);
    assert.deepEqual(found(await verify([lines.with(4, edit(lines[4] ?? ""))])), ["1:5 edited 4"]);
    assert.deepEqual(found(await verify([lines.toSpliced(4, 1)])), ["1:5 removed 4"]);
    const anew = await verify([makeAnew(lines, 4, edit)]);
    assert.deepEqual(found(anew), []);
    assert.equal(anew.unchecked.length, 1);
  });

  test("records of 0.1.0 are read", async () => {
    // As 0.1.0 wrote them: no start, no end, no MAC.
    const [a, b] = [
      '{"time":"2026-01-01T00:00:00.000Z","method":"status","milliseconds":0.4,"cluster":"prod","outcome":"ok","chain":"6b1f0f5e-58fb-4c11-9a3f-b6f7ff4d39a1","sequence":0,"previous":""}',
      '{"time":"2026-01-01T00:00:01.000Z","method":"status","milliseconds":0.4,"cluster":"prod","outcome":"ok","chain":"6b1f0f5e-58fb-4c11-9a3f-b6f7ff4d39a1","sequence":1,"previous":"6cf5ba3d5e8f4e5f1c04c0b5fe8a3bd9ab8a8e5ae4f4ac21b8d8f4bbaba1e1d3"}',
    ];
    const good = b.replace(/"previous":".*"/, `"previous":"${lineHash(a)}"`);
    assert.deepEqual(found(await verify([[a, good]])), []);
    assert.deepEqual(found(await verify([[a, b]])), ["1:1 edited 0"]);
  });

  test("without the key, what was removed is found and what was not checked is said", async () => {
    const [one = [], two = [], three = []] = genuine();
    const report = await verify([one, two, three], noKeys);
    assert.deepEqual(found(report), []);
    assert.equal(report.unchecked.length, 2);
    assert.match(report.unchecked[0] ?? "", /the MACs of 13 records and 2 signed heads, without the integrity key/);
    assert.deepEqual(found(await verify([one.toSpliced(3, 1), two, three], noKeys)), ["1:4 removed 3"]);
  });

  test("without Vault's answer the signed heads are said not to be checked", async () => {
    const report = await verify(genuine(), { key: keys.key, sign: undefined });
    assert.deepEqual(found(report), []);
    assert.match(report.unchecked.join(), /2 signed heads, without Vault/);
  });

  test("a chain of which Vault has signed nothing for minutes is named", async () => {
    const chain = createChain(() => key);
    const lines = [0, 100, 200, 301].map((n) => chain.append(entry(n)).trimEnd());
    assert.match((await verify([lines])).unchecked.join(), /Vault has signed nothing of it after its beginning/);
    assert.deepEqual((await verify([lines.slice(0, -1)])).unchecked, []);
  });
});
