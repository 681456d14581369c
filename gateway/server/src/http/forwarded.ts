// The x-forwarded-client-cert header as Envoy writes it: an element for each hop, commas between
// them; in each `Key=value` pairs, semicolons between them; a value with a comma, a semicolon, an
// equals sign or a quote stands in quotes, with `\"` for a quote. What is not exactly that is refused:
// a client may have begun the header itself, with a quote that it never ends.
// (https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert)
import type { X509Certificate } from "node:crypto";
import { splitPem } from "@claviger/proto/runtime/certificates.ts";

/** What one hop says of its client: the certificate, and those that came with it. */
export type ForwardedElement = { readonly certificate: X509Certificate; readonly sent: readonly X509Certificate[] };

/** A header larger than this is none of a proxy that passes on one chain for each hop. */
const maxBytes = 64 * 1024;
const maxElements = 8;

type Pairs = ReadonlyMap<string, string>;

/** One pair, from where the last one ended: a key, a value with or without quotes, and what follows. */
const pair = /([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;=\\]*))([;,]|$)/y;

/** The pairs of each element, in the header's order; undefined for what Envoy would not write. */
function parseElements(header: string): readonly Pairs[] | undefined {
  if (header === "" || header.length > maxBytes) return undefined;
  const elements: Map<string, string>[] = [];
  let current = new Map<string, string>();
  let at = 0;
  while (elements.length < maxElements) {
    pair.lastIndex = at;
    const found = pair.exec(header);
    if (found === null) return undefined;
    const [all, name = "", quoted, plain = "", end] = found;
    const key = name.toLowerCase();
    // Of names there may be several.
    if (current.has(key) && key !== "uri" && key !== "dns") return undefined;
    current.set(key, quoted === undefined ? plain : quoted.replaceAll(/\\(.)/g, "$1"));
    at += all.length;
    if (end === ";") continue;
    elements.push(current);
    if (end !== ",") return elements;
    current = new Map();
    // Node.js and proxies join several headers of this name with a comma and a space.
    while (header[at] === " ") at += 1;
  }
  return undefined;
}

function readPem(text: string): readonly X509Certificate[] {
  return splitPem(decodeURIComponent(text));
}

/**
 * The certificate of an element: of `Cert`, or else the first of `Chain`, whose others are
 * intermediates.
 */
function readElement(pairs: Pairs): ForwardedElement | undefined {
  const [cert, chain] = [pairs.get("cert"), pairs.get("chain")];
  const [certificate, ...others] = cert === undefined ? [] : readPem(cert);
  const sent = chain === undefined ? [] : readPem(chain);
  if (certificate === undefined) {
    const [first, ...rest] = sent;
    return cert !== undefined || first === undefined ? undefined : { certificate: first, sent: rest };
  }
  return others.length > 0 ? undefined : { certificate, sent };
}

/**
 * What each hop says, the first one being the farthest from us. Undefined in the place of a hop that
 * names no certificate that parses; undefined for all when the header is not one of Envoy's.
 */
export function parseForwarded(header: string): readonly (ForwardedElement | undefined)[] | undefined {
  return parseElements(header)?.map((pairs) => {
    try {
      return readElement(pairs);
    } catch {
      return undefined;
    }
  });
}
