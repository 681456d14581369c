// What is mutated, and the unit tests that have to notice it.

export type Target = {
  /** From the root of the repository. */
  readonly source: string;
  readonly tests: readonly string[];
};

const core = "test/unit/gateway/core";
const server = "test/unit/gateway/server";
const runtime = "test/unit/proto/runtime";

export const targets: readonly Target[] = [
  {
    source: "gateway/core/src/identity.ts",
    tests: [`${core}/identity.test.ts`],
  },
  { source: "gateway/core/src/key/envelope.ts", tests: [`${core}/key/envelope.test.ts`] },
  { source: "gateway/core/src/key/key-id.ts", tests: [`${core}/key/key-id.test.ts`] },
  { source: "gateway/core/src/key/promotion.ts", tests: [`${core}/key/promotion.test.ts`] },
  { source: "gateway/core/src/key/epoch-mac.ts", tests: [`${core}/key/epoch-mac.test.ts`] },
  {
    source: "gateway/core/src/audit/chain.ts",
    tests: [`${core}/audit/chain.test.ts`, `${core}/audit/verify.test.ts`, `${core}/audit/log.test.ts`],
  },
  {
    source: "gateway/core/src/audit/verify-chain.ts",
    tests: [`${core}/audit/verify.test.ts`, `${core}/audit/verify-chain.test.ts`],
  },
  {
    source: "gateway/core/src/registry/record.ts",
    tests: [`${core}/registry/record.test.ts`],
  },
  { source: "gateway/core/src/registry/labels.ts", tests: [`${core}/registry/labels.test.ts`] },
  {
    source: "gateway/core/src/backend/vault/token-state.ts",
    tests: [`${core}/backend/token-steps.test.ts`, `${core}/backend/token-state.test.ts`],
  },
  { source: "gateway/core/src/backend/vault/transit.ts", tests: [`${core}/backend/transit.test.ts`] },
  {
    source: "gateway/server/src/kms/admission.ts",
    tests: [`${server}/kms/admission.test.ts`],
  },
  {
    source: "proto/runtime/batcher.ts",
    tests: [`${runtime}/batcher.test.ts`, `${runtime}/batcher-properties.test.ts`],
  },
  { source: "proto/runtime/endpoint-pool.ts", tests: [`${runtime}/endpoint-repeat.test.ts`] },
  {
    source: "proto/runtime/endpoint-health.ts",
    tests: [`${runtime}/endpoint-health.test.ts`, `${runtime}/endpoint-order.test.ts`],
  },
  {
    source: "proto/runtime/endpoint-round.ts",
    tests: [`${runtime}/endpoint-round.test.ts`, `${runtime}/endpoint-pool.test.ts`],
  },
];
