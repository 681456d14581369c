// The fakes that stand for a port keep the contract of what they stand for.
import { backendContract } from "../../contracts/backend.ts";
import { documentsContract } from "../../contracts/documents.ts";
import { redisContract } from "../../contracts/redis.ts";
import { createFakeRedis } from "./core/redis/fakes.ts";
import { createFakeDocuments } from "./core/registry/fakes.ts";
import { createFakeBackend } from "./fakes.ts";

backendContract(
  "the fake backend",
  () => {
    const backend = createFakeBackend();
    const madeAt = Math.floor(Date.now() / 1000);
    backend.state = { ...backend.state, versions: new Map([[1, madeAt]]) };
    // The fake's own rotation sets the clock forward, so that tests can tell versions by their time.
    const rotate = () => Promise.resolve(backend.addVersion(madeAt));
    return Promise.resolve({ backend: { ...backend, rotate }, stop: () => backend.close() });
  },
  { endsEarly: true },
);

redisContract("the fake Redis", () => {
  const server = createFakeRedis();
  const turn = (isAway: boolean) => {
    server.isAway = isAway;
    return Promise.resolve();
  };
  return Promise.resolve({
    open: () => server.open(),
    goAway: () => turn(true),
    comeBack: () => turn(false),
    stop: () => Promise.resolve(),
  });
});

documentsContract("the fake documents", () => {
  const documents = createFakeDocuments();
  const turn = (isAway: boolean) => {
    documents.isAway = isAway;
    return Promise.resolve();
  };
  return Promise.resolve({
    documents,
    remove: (at) => Promise.resolve(documents.set(at, undefined)),
    goAway: () => turn(true),
    comeBack: () => turn(false),
    stop: () => Promise.resolve(),
  });
});
