// What kube-apiserver does all the time: Encrypt and Decrypt through a shim's socket, one after the other.
import { setTimeout as sleep } from "node:timers/promises";
import { kmsClient } from "../../lab/kms.ts";

export type Caller = {
  /** Calls that ended well, so far. */
  calls(): number;
  /** Ends it. @returns the first of what failed */
  stop(): Promise<readonly string[]>;
};

/** @param socket that answers already */
export function startCaller(socket: string): Caller {
  const client = kmsClient(socket);
  const failed: string[] = [];
  let [calls, isStopped] = [0, false];
  const run = async (): Promise<void> => {
    while (!isStopped) {
      try {
        const text = `Secret ${calls}`;
        const plain = await client.decrypt(await client.encrypt(Buffer.from(text)));
        if (plain.toString() !== text) failed.push(`${text} came back as something else`);
        calls += 1;
      } catch (error) {
        failed.push(`${new Date().toISOString()} ${String(error)}`);
      }
      await sleep(20);
    }
    client.close();
  };
  const ended = run();
  return {
    calls: () => calls,
    async stop() {
      isStopped = true;
      await ended;
      return failed.slice(0, 5);
    },
  };
}
