// Transit encrypt and decrypt as bytes: request bodies are built and replies are read in buffers
// that are zeroized, never as strings that hold key material. One batch_input call for all items; each
// has an outcome of its own. (docs/architecture.md #envelope and #vault.)
import { z } from "@claviger/proto/runtime/config.ts";
import { KmsError } from "@claviger/proto/wire/errors.ts";
import type { Outcome, UnwrapItem, Unwrapped, WrapItem, Wrapped } from "../port.ts";
import { decodeBase64, encodeBase64, encodedLength } from "./base64.ts";
import { refusalOf, withoutSecrets } from "./client.ts";
import type { VaultReply } from "./transport.ts";

const opening = '{"batch_input":[';
const closing = "]}";

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

/** The body of an encrypt call. The caller zeroizes it. */
export function buildEncrypt(items: readonly WrapItem[]): Buffer {
  const parts = items.map(({ plaintext, associatedData, version }, i) => ({
    head: `${i === 0 ? opening : ","}{"plaintext":"`,
    plaintext,
    tail: `","associated_data":"${base64(associatedData)}","key_version":${version}}`,
  }));
  const length = parts.reduce(
    (sum, { head, plaintext, tail }) => sum + head.length + encodedLength(plaintext.length) + tail.length,
    closing.length,
  );
  const body = Buffer.alloc(length);
  let at = 0;
  for (const { head, plaintext, tail } of parts) {
    at += body.write(head, at, "latin1");
    at = encodeBase64(plaintext, body, at);
    at += body.write(tail, at, "latin1");
  }
  body.write(closing, at, "latin1");
  return body;
}

/** The body of a decrypt call. Nothing in it is secret. */
export function buildDecrypt(items: readonly UnwrapItem[]): Buffer {
  const parts = items.map(
    ({ ciphertext, associatedData, version }) =>
      `{"ciphertext":"vault:v${version}:${base64(ciphertext)}","associated_data":"${base64(associatedData)}"}`,
  );
  return Buffer.from(`${opening}${parts.join(",")}${closing}`);
}

const field = Buffer.from('"plaintext"');
const quote = 0x22;
const colon = 0x3a;
function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/**
 * Where the text of the value begins whose field name ends before `at`; undefined when it is no
 * string.
 */
function valueStart(body: Buffer, at: number): number | undefined {
  let to = at;
  while (isSpace(body[to])) to++;
  if (body[to++] !== colon) return undefined;
  while (isSpace(body[to])) to++;
  return body[to] === quote ? to + 1 : undefined;
}

/**
 * Takes every plaintext out of a reply: decodes it into a buffer of its own and writes its number
 * in its place.
 */
function extractPlaintexts(body: Buffer): (Buffer | undefined)[] {
  const found: (Buffer | undefined)[] = [];
  for (let at = body.indexOf(field); at >= 0; at = body.indexOf(field, at)) {
    at += field.length;
    const from = valueStart(body, at);
    if (from === undefined) continue;
    const to = body.indexOf(quote, from);
    if (to === -1) {
      body.fill(" ", from);
      break;
    }
    found.push(decodeBase64(body.subarray(from, to)));
    body.fill(" ", from, to);
    body.write(String(found.length - 1), from, to - from, "latin1");
    at = to;
  }
  return found;
}

const batchReply = z.object({
  request_id: z.optional(z.string()),
  data: z.object({
    batch_results: z.array(
      z.object({
        plaintext: z.optional(z.string()),
        ciphertext: z.optional(z.string()),
        error: z.optional(z.string()),
      }),
    ),
  }),
});
type BatchReply = z.infer<typeof batchReply>;
type BatchResult = BatchReply["data"]["batch_results"][number];

// A batch with failed items comes with status 400; without batch_results it is the call that
// failed.
function readBatch({ status, body }: VaultReply, count: number): BatchReply {
  let json: unknown;
  try {
    json = JSON.parse(body.toString("utf8"));
  } catch {
    throw new KmsError("backend_protocol_error", { cause: new Error("a reply that is not JSON") });
  } finally {
    body.fill(0);
  }
  const parsed = z.safeParse(batchReply, json);
  const refusal = refusalOf(status, json);
  if (refusal !== undefined && !(status === 400 && parsed.success)) throw refusal;
  if (!parsed.success || parsed.data.data.batch_results.length !== count)
    throw new KmsError("backend_protocol_error", { cause: new Error("a batch reply of another form") });
  return parsed.data;
}

function itemError(text: string, isDecrypt: boolean): KmsError {
  const cause = new Error(withoutSecrets(text).slice(0, 200));
  if (text.includes("key not found") || (isDecrypt && text.includes("disallowed by policy")))
    return new KmsError("key_missing", { cause });
  return new KmsError(isDecrypt ? "ciphertext_invalid" : "request_malformed", { cause });
}

function protocolError(why: string): Outcome<never> {
  return { ok: false, error: new KmsError("backend_protocol_error", { cause: new Error(why) }) };
}

const wrapped = /^vault:v(\d{1,7}):([A-Za-z0-9+/]+={0,2})$/;

/** What became of each item of an encrypt call. @throws KmsError when the call as a whole failed */
export function readEncrypt(reply: VaultReply, items: readonly WrapItem[]): readonly Outcome<Wrapped>[] {
  const { request_id: requestId, data } = readBatch(reply, items.length);
  const outcome = ({ ciphertext = "", error = "" }: BatchResult, item: WrapItem): Outcome<Wrapped> => {
    if (error !== "") return { ok: false, error: itemError(error, false) };
    const [, version, text] = wrapped.exec(ciphertext) ?? [];
    const bytes = text === undefined ? undefined : decodeBase64(Buffer.from(text, "latin1"));
    if (bytes === undefined) return protocolError("a ciphertext of another form");
    // Another version than the one asked for would make key_id a lie.
    if (Number(version) !== item.version)
      return protocolError(`asked for version ${item.version}, got ${Number(version)}`);
    return {
      ok: true,
      value: { ciphertext: bytes, version: item.version, ...(requestId !== undefined && { requestId }) },
    };
  };
  return items.flatMap((item, i) => {
    const result = data.batch_results[i];
    return result === undefined ? [] : [outcome(result, item)];
  });
}

/**
 * What became of each item of a decrypt call. The plaintexts are the receiver's to zeroize.
 * @throws KmsError when the call as a whole failed
 */
export function readDecrypt(reply: VaultReply, count: number): readonly Outcome<Unwrapped>[] {
  const plaintexts = extractPlaintexts(reply.body);
  try {
    const { request_id: requestId, data } = readBatch(reply, count);
    return data.batch_results.map(({ plaintext = "", error = "" }): Outcome<Unwrapped> => {
      if (error !== "") return { ok: false, error: itemError(error, true) };
      const number = plaintext.trim();
      const bytes = /^\d{1,3}$/.test(number) ? plaintexts[Number(number)] : undefined;
      if (bytes === undefined) return protocolError("a plaintext that is missing or no base64");
      plaintexts[Number(number)] = undefined;
      return { ok: true, value: { plaintext: bytes, ...(requestId !== undefined && { requestId }) } };
    });
  } finally {
    // Whatever nobody took.
    for (const bytes of plaintexts) bytes?.fill(0);
  }
}
