// The reference plugin as a process: `node plugin.ts SOCKET MUTATION`.
import { setTimeout as sleep } from "node:timers/promises";
import { createKek, type Mutation, startReference, takePath } from "./reference.ts";

const [path = "", mutation = "none"] = process.argv.slice(2) as [string?, Mutation?];
try {
  await takePath(path, mutation);
} catch (error) {
  process.stderr.write(`${String(error)}\n`);
  process.exit(1);
}
if (mutation === "waits for its backend") await sleep(20_000);
if (mutation !== "open mode") process.umask(0o177);
const server = await startReference(path, createKek(), mutation);
process.stdout.write("ready\n");
process.on("SIGTERM", () => {
  if (mutation === "dies at SIGTERM") process.exit(0);
  server.tryShutdown(() => process.exit(0));
});
