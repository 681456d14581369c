// What a program that runs on this machine says of itself, at `/readyz` of its second listener.
import type { z } from "@claviger/proto/runtime/config.ts";

const askMs = 3000;

/** Undefined where nothing answers within three seconds, or not so. @param url of its second listener */
export async function askReady<T>(url: URL, reply: z.ZodMiniType<T>): Promise<T | undefined> {
  try {
    const answer = await fetch(new URL("/readyz", url), { signal: AbortSignal.timeout(askMs) });
    const parsed = reply.safeParse(await answer.json());
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
