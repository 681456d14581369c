// What callers may use up follows from what the process has.
import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultListenSettings } from "@claviger/gateway-core/src/config.ts";
import {
  defaultListenLimits,
  parseOpenFiles,
  type Resources,
  resolveListenLimits,
} from "@claviger/gateway-server/src/http/limits.ts";
import * as fc from "fast-check";

const mebibyte = 2 ** 20;

function resolve(resources: Partial<Resources>, settings = {}) {
  return resolveListenLimits(
    { ...defaultListenSettings, ...settings },
    { memoryBytes: undefined, openFiles: undefined, ...resources },
  );
}

test("without bounds there are 20,000 connections", () => {
  assert.equal(defaultListenLimits.connections, 20_000);
});

test("under the shipped memory limit of 512 MiB there are as many as fit", () => {
  const { connections, handshakes } = resolve({ memoryBytes: 512 * mebibyte });
  assert.equal(connections, 1536);
  assert.equal(handshakes, 1024);
});

test("whatever memory there is, connections and bodies stay under it", () => {
  fc.assert(
    fc.property(fc.integer({ min: 400, max: 65_536 }), (mebibytes) => {
      const memoryBytes = mebibytes * mebibyte;
      const { connections, handshakes, bodyBytes } = resolve({ memoryBytes });
      // 90 KiB for a connection and 18 KiB for a handshake were measured, 160 MiB for the rest.
      const used = 160 * mebibyte + connections * 90 * 1024 + handshakes * 18 * 1024 + 1.5 * bodyBytes;
      assert.ok(used < memoryBytes, `${used} of ${memoryBytes}`);
    }),
  );
});

test("whatever is configured, a part of the open files stays free for the registry, sinks and probes", () => {
  fc.assert(
    fc.property(fc.integer({ min: 64, max: 2 ** 20 }), fc.integer({ min: 8, max: 1e6 }), (openFiles, connections) => {
      const limits = resolve({ openFiles }, { connections });
      const left = openFiles - limits.connections - limits.handshakes;
      assert.ok(left >= Math.min(256, Math.floor(openFiles / 2)), `${left} of ${openFiles}`);
      assert.ok(limits.connections <= connections);
    }),
  );
});

test("the limit of open files is read from what Linux says", () => {
  const text = "Limit                     Soft Limit           Hard Limit           Units     \n";
  assert.equal(
    parseOpenFiles(`${text}Max open files            1024                 4096                 files\n`),
    1024,
  );
  assert.equal(
    parseOpenFiles(`${text}Max open files            unlimited            unlimited            files\n`),
    undefined,
  );
  assert.equal(parseOpenFiles(""), undefined);
});
