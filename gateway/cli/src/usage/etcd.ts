// Reads through an etcd from end to end: its JSON gateway, over HTTP or over HTTPS with a client
// certificate. Changes nothing.
import { readFileSync } from "node:fs";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { buffer } from "node:stream/consumers";
import { z } from "@claviger/proto/runtime/config.ts";
import { CliError } from "../commander.ts";

export type EtcdTls = { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
export type Entry = { readonly key: string; readonly value: Buffer };

/**
 * Values of 1.5 MiB, the most that etcd takes, in base64: a page of them is still a string that V8
 * can hold.
 */
const pageSize = 100;
const callMs = 30_000;

const bytes = z.pipe(
  z.string(),
  z.transform((text: string) => Buffer.from(text, "base64")),
);
const rangeReply = z.object({
  header: z.object({ revision: z.string() }),
  kvs: z._default(z.array(z.object({ key: bytes, value: z._default(bytes, Buffer.alloc(0)) })), []),
  more: z._default(z.boolean(), false),
});

/** Reads PEM files. @throws CliError */
export function readEtcdTls(files: { readonly ca?: string; readonly cert?: string; readonly key?: string }): EtcdTls {
  return Object.fromEntries(
    Object.entries(files).map(([name, file]) => {
      try {
        return [name, readFileSync(file)];
      } catch (error) {
        throw new CliError(
          `--etcd-${name}: ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`,
        );
      }
    }),
  );
}

async function post(url: URL, body: unknown, tls: EtcdTls): Promise<unknown> {
  const fail = (why: string): never => {
    throw new CliError(`etcd at ${url.origin} cannot be read: ${why}`);
  };
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly status: number; readonly text: string }>();
  const options = { method: "POST", headers: { "content-type": "application/json" }, timeout: callMs };
  const call = url.protocol === "https:" ? requestHttps(url, { ...options, ...tls }) : requestHttp(url, options);
  call.once("timeout", () => call.destroy(new Error("no answer")));
  call.once("error", reject);
  call.once("response", (reply) => {
    buffer(reply)
      .then((all) => resolve({ status: reply.statusCode ?? 0, text: all.toString() }))
      .catch(reject);
  });
  call.end(JSON.stringify(body));
  const { status, text } = await promise.catch((error: unknown) =>
    fail((error as NodeJS.ErrnoException).code ?? (error as Error).message),
  );
  if (status !== 200)
    fail(
      `it answers ${status}${status === 401 || status === 403 ? "; give --etcd-cert and --etcd-key of a user who may read" : ""}`,
    );
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return fail("its answer is no JSON; is it the client port?");
  }
}

/** The end of the range of all keys that begin with `prefix`. */
function abortReason(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

/**
 * Every entry under a prefix, as of one revision.
 * @param prefix not empty, ASCII
 * @throws CliError when it cannot be read to the end
 */
export async function* readEtcd(endpoint: URL, prefix: string, tls: EtcdTls): AsyncGenerator<Entry> {
  const url = new URL("/v3/kv/range", endpoint);
  let from: Uint8Array = Buffer.from(prefix);
  let revision: string | undefined;
  for (;;) {
    const reply = await post(
      url,
      {
        key: Buffer.from(from).toString("base64"),
        range_end: abortReason(prefix).toString("base64"),
        limit: pageSize,
        ...(revision !== undefined && { revision }),
      },
      tls,
    );
    const page = rangeReply.safeParse(reply);
    if (!page.success) throw new CliError(`etcd at ${url.origin} cannot be read: its answer is not one of the v3 API`);
    const { kvs, more, header } = page.data;
    revision ??= header.revision;
    for (const { key, value } of kvs) yield { key: key.toString(), value };
    const last = kvs.at(-1);
    if (!more) return;
    if (last === undefined)
      throw new CliError(`etcd at ${url.origin} cannot be read: it says that there is more, and gives nothing`);
    from = Buffer.concat([last.key, Buffer.of(0)]);
  }
}
