// The contract of the RedisStore port, kept by ioredis and a real redis-server.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openRedis } from "@claviger/gateway-core/src/redis/client.ts";
import { redisSchema } from "@claviger/gateway-core/src/redis/config.ts";
import { checkConfig } from "@claviger/proto/runtime/config.ts";
import { redisContract } from "../../contracts/redis.ts";
import { createProcessGroup } from "../../lab/process-group.ts";
import { startRedis } from "../../lab/redis.ts";
import { silent } from "../../unit/gateway/fakes.ts";

redisContract("a real Redis", async () => {
  const dir = await mkdtemp(join(tmpdir(), "claviger-"));
  const processes = createProcessGroup(dir);
  const server = await startRedis(processes, dir);
  const { port, passwordFile } = server;
  const settings = { kind: "standalone", node: `127.0.0.1:${port}`, passwordFile };
  return {
    open: () => openRedis(checkConfig("the test", settings, redisSchema), silent),
    goAway: () => processes.stop(server.proc()),
    comeBack: () => server.start(),
    async stop() {
      await processes.stopAll();
      await rm(dir, { recursive: true, force: true });
    },
  };
});
