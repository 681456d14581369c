import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics } from "@claviger/gateway-server/src/metrics.ts";

test("calls are counted by cluster, by what kind of end they had, and clusters beyond the bound together", async () => {
  const metrics = createMetrics({ maxSeries: 2 });
  for (const cluster of ["a", "b", "c", "d", "a"]) metrics.clusterCalled(cluster, "decrypt", undefined);
  metrics.clusterCalled("a", "decrypt", "backend_sealed");
  metrics.clusterCalled("a", "status", "cluster_suspended");
  metrics.clusterCalled("d", "decrypt", "ciphertext_invalid");
  const page = await metrics.render();
  const series = [...page.matchAll(/^claviger_gateway_cluster_calls_total\{(.*)\} (\d+)$/gm)].map(
    ([, labels = "", count]) => `${labels.replaceAll(/\w+=|"/g, "")} ${count}`,
  );
  assert.deepEqual(series.toSorted(), [
    "a,decrypt,ok 2",
    "a,decrypt,outage 1",
    "a,status,refusal 1",
    "b,decrypt,ok 1",
    "other,decrypt,caller 1",
    "other,decrypt,ok 2",
  ]);
});

test("keys beyond the bound show the age of the oldest, and no versions", async () => {
  const metrics = createMetrics({ maxSeries: 1 });
  metrics.observeKeys(() => [
    { backend: "main", key: "transit/a", promoted: 2, latest: 3, createdAt: 300 },
    { backend: "main", key: "transit/b", promoted: 7, latest: 7, createdAt: 200 },
    { backend: "main", key: "transit/c", promoted: 8, latest: undefined, createdAt: 100 },
  ]);
  const page = await metrics.render();
  const of = (name: string): readonly string[] =>
    [...page.matchAll(new RegExp(`^claviger_gateway_key_${name}\\{backend="main",key="([^"]*)"\\} (\\d+)$`, "gm"))].map(
      ([, key, value]) => `${key} ${value}`,
    );
  assert.deepEqual(of("promoted_version"), ["transit/a 2"]);
  assert.deepEqual(of("latest_version"), ["transit/a 3"]);
  assert.deepEqual(of("created_timestamp_seconds"), ["transit/a 300", "other 100"]);
});

test("what is not known is not shown: no token, no edit number, no head of the audit chain", async () => {
  const metrics = createMetrics();
  metrics.observeTokens(() => [
    { backend: "main", end: undefined },
    { backend: "other", end: { until: 5000, isLast: true } },
  ]);
  metrics.observeRegistry(() => ({ clusters: 3, problems: 1 }));
  metrics.observeAudit({ sinks: () => [], signedAt: () => undefined });
  const page = await metrics.render();
  assert.deepEqual(page.match(/^claviger_gateway_vault_token_\S+ .*$/gm), [
    'claviger_gateway_vault_token_expiry_timestamp_seconds{backend="other",renewal="none"} 5',
  ]);
  assert.match(page, /^claviger_gateway_registry_problems 1$/m);
  assert.doesNotMatch(page, /^claviger_gateway_(?:registry_edit|registry_last|audit_)/m);
});
