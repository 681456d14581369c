// The contract of the Documents port, for KV version 2 of a Vault and for the fake of the unit tests.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import type { DocumentRef, Documents } from "@claviger/gateway-core/src/backend/port.ts";
import { KmsError, rowOf } from "@claviger/proto/wire/errors.ts";
import { mountPath } from "@claviger/proto/wire/names.ts";
import { hasReason, signal } from "./backend.ts";

/** A store at the mount `documents`, which is empty. */
export type DocumentsWorld = {
  readonly documents: Documents;
  /** Deletes the newest version, as somebody does who thinks it is not needed. */
  remove(at: DocumentRef): Promise<void>;
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  stop(): Promise<void>;
};

/**
 * The contract of the Documents port.
 * @param start makes a store for the suite alone
 */
export function documentsContract(name: string, start: () => Promise<DocumentsWorld>): void {
  suite(`${name} keeps the contract of documents`, () => {
    let world: DocumentsWorld;
    before(async () => {
      world = await start();
    });
    after(() => world.stop());
    const at = (path: string, mount = "documents"): DocumentRef => ({ mount: mountPath.parse(mount), path });
    const read = (from: DocumentRef) => world.documents.readDocument(from, signal());
    const write = (to: DocumentRef, data: Readonly<Record<string, unknown>>, version: number) =>
      world.documents.writeDocument(to, data, version, signal());

    test("where there is none, or no store at all, undefined is read", async () => {
      assert.equal(await read(at("none")), undefined);
      assert.equal(await read(at("none", "no-such-mount")), undefined);
    });

    test("what is written over the version that was read is there, and is the reader's", async () => {
      const data = { list: [1, { a: null, b: "ü\n" }], empty: {}, yes: true };
      assert.equal(await write(at("one"), data, 0), true);
      const found = await read(at("one"));
      assert.deepEqual(found, { data, version: 1 });
      (found.data as { list: unknown[] }).list.length = 0;
      assert.deepEqual(await read(at("one")), { data, version: 1 });
      assert.equal(await write(at("one"), { other: 1 }, 1), true);
      assert.deepEqual(await read(at("one")), { data: { other: 1 }, version: 2 });
      assert.equal(await read(at("one/below")), undefined);
    });

    test("over any other version nothing is written", async () => {
      await write(at("two"), { n: 1 }, 0);
      await write(at("two"), { n: 2 }, 1);
      for (const version of [0, 1, 3]) assert.equal(await write(at("two"), { n: 9 }, version), false, String(version));
      assert.equal(await write(at("three"), { n: 9 }, 1), false);
      assert.deepEqual(await read(at("two")), { data: { n: 2 }, version: 2 });
      assert.equal(await read(at("three")), undefined);
    });

    test("of several who write over one version, one does", async () => {
      const tries = await Promise.all([1, 2, 3, 4].map((n) => write(at("four"), { n }, 0)));
      assert.equal(tries.filter(Boolean).length, 1);
      assert.deepEqual((await read(at("four")))?.data, { n: tries.indexOf(true) + 1 });
    });

    test("one that was deleted is none, and another one can be written", async () => {
      await write(at("five"), { n: 1 }, 0);
      await write(at("five"), { n: 2 }, 1);
      await world.remove(at("five"));
      assert.equal(await read(at("five")), undefined);
      assert.equal(await write(at("five"), { n: 3 }, 0), true);
      const found = await read(at("five"));
      assert.deepEqual(found?.data, { n: 3 });
      assert.equal(await write(at("five"), { n: 4 }, 0), false, "there is one again");
      assert.equal(await write(at("five"), { n: 4 }, found.version), true);
    });

    test("one that was taken away is none, with all its versions, and so is one that never was", async () => {
      const remove = (path: string) => world.documents.removeDocument(at(path), signal());
      await write(at("gone"), { n: 1 }, 0);
      await write(at("gone"), { n: 2 }, 1);
      await remove("gone");
      assert.equal(await read(at("gone")), undefined);
      await remove("gone");
      await remove("never");
      assert.equal(await write(at("gone"), { n: 3 }, 0), true);
      assert.deepEqual(await read(at("gone")), { data: { n: 3 }, version: 1 });
    });

    test("the names below a path are listed, and neither what is further down nor what stands beside", async () => {
      const below = (path: string): DocumentRef => ({ ...at("list"), path: `${at("list").path}/${path}` });
      for (const none of [at("list"), at("list", "no-such-mount")])
        assert.deepEqual(await world.documents.listDocuments(none, signal()), []);
      for (const path of ["b", "a", "c/d"]) await write(below(path), {}, 0);
      await write(at("listed"), {}, 0);
      assert.deepEqual((await world.documents.listDocuments(at("list"), signal())).toSorted(), ["a", "b"]);
    });

    test("a call whose time is over rejects", async () => {
      const over = AbortSignal.abort(new KmsError("deadline_exceeded"));
      await assert.rejects(world.documents.readDocument(at("one"), over), hasReason("deadline_exceeded"));
      await assert.rejects(world.documents.writeDocument(at("six"), {}, 0, over), hasReason("deadline_exceeded"));
      assert.equal(await read(at("six")), undefined);
    });

    test("a store that is away is an outage, and no answer", async () => {
      const isOutage = (error: unknown): boolean => error instanceof KmsError && rowOf(error.reason).kind === "outage";
      const before = await read(at("one"));
      await world.goAway();
      await assert.rejects(read(at("one")), isOutage);
      await assert.rejects(read(at("none")), isOutage);
      await assert.rejects(write(at("one"), {}, before?.version ?? 0), isOutage);
      await world.comeBack();
      assert.deepEqual(await read(at("one")), before);
    });
  });
}
