// How long a KMS plugin takes from the start of its process to its first good answers.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { kmsClient } from "../../lab/kms.ts";
import { type LabProcess, type ProcessGroup, tailOf } from "../../lab/process-group.ts";

/** Milliseconds from the start of the process. */
export type StartTimes = { readonly status: number; readonly encrypt: number };

const limitMs = 30_000;

/** Asks again and again, every millisecond. @throws Error with the log's last lines when time is over */
async function askUntil<T>(what: string, proc: LabProcess, ask: () => Promise<T>): Promise<T> {
  for (const end = Date.now() + limitMs; ; await sleep(1))
    try {
      return await ask();
    } catch (error) {
      if (Date.now() > end) throw new Error(`${what}: ${tailOf(proc)}`, { cause: error });
    }
}

async function accepts(path: string): Promise<void> {
  const socket = connect(path);
  try {
    await once(socket, "connect");
  } finally {
    socket.destroy();
  }
}

/** Ends a plugin and starts it again. @returns the new process and its times */
export async function restartTimed(
  processes: ProcessGroup,
  old: LabProcess,
  socket: string,
): Promise<{ readonly proc: LabProcess; readonly times: StartTimes }> {
  await processes.stop(old);
  const began = performance.now();
  const proc = processes.start(old.name, old.argv);
  await askUntil("the socket", proc, async () => await accepts(socket));
  const client = kmsClient(socket);
  try {
    await askUntil("Status", proc, async () => {
      const { healthz } = await client.status();
      if (healthz !== "ok") throw new Error(`healthz is ${healthz}`);
    });
    const status = performance.now() - began;
    await askUntil("Encrypt", proc, async () => await client.encrypt(randomBytes(32)));
    return { proc, times: { status, encrypt: performance.now() - began } };
  } finally {
    client.close();
  }
}
