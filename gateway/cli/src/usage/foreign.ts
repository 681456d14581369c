// Which version of a Transit key another KMS plugin's ciphertext needs, where it says so. Which key
// it is no plugin writes down: it may be the one that Claviger uses.

/** `vault:vN:…`, as Transit itself writes it; Oracle's plugin puts the key's name in front. */
const transit = /^[\w.-]{1,255}:v([1-9]\d{0,8}):/;
/** Trousseau 2: a line for each provider, `NAME:-:base64`. */
const providerLine = /^[\w.-]+:-:([A-Za-z0-9+/=]*)$/;
const longestHead = 300;

function versionIn(text: string): number | undefined {
  const version = transit.exec(text.slice(0, longestHead))?.[1];
  return version === undefined ? undefined : Number(version);
}

/** The lowest version that it needs; undefined when it does not tell. */
export function transitVersion(ciphertext: Uint8Array): number | undefined {
  const text = Buffer.from(ciphertext).toString("latin1");
  const own = versionIn(text);
  if (own !== undefined) return own;
  const payloads = text
    .trimEnd()
    .split("\n")
    .map((line) => providerLine.exec(line)?.[1]);
  if (payloads.includes(undefined)) return undefined;
  const versions = payloads.flatMap(
    (payload = "") => versionIn(Buffer.from(payload, "base64").toString("latin1")) ?? [],
  );
  return versions.length === 0 ? undefined : Math.min(...versions);
}
