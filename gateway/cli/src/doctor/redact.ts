// Texts without what could be a secret. None of ours stands in a configuration; a kube-apiserver's keys do in an
// EncryptionConfiguration, and somebody may have put one where it does not belong.
import { isTree } from "@claviger/proto/runtime/config.ts";

/** What stands in the place of a secret. */
export const redacted = "[secret]";

/** Names of settings whose value is a secret, and not the path of a file. */
const secretName = /(?:secret|token|password|passphrase|authorization|cookie|api[-_]?key)$/i;
/** Of those that are the path of such a file: a value without a slash may be the secret itself. */
const secretFileName = /(?:secret|token|password|passphrase|secret-?id)[-_]?file$/i;
/** As a PEM block, a token or base64 of a key has it; paths, URLs and names are shorter between their separators. */
const secretText = /-----BEGIN|^[sb]\.\w{8}|\bhv[sbr]\.\w|\bclvt_|\beyJ[\w-]+\.|(?<![\w+/=-])[\w+/=-]{40,}(?![\w+/=-])/;
/** Between the slashes of a URL and its host. */
const userInfo = /(?<=\/\/)[^/\s]+(?=@)/g;
const query = /(?<=[?&][\w-]*(?:token|secret|password|key|signature)=)[^&\s]+/gi;
/** A shorter one stands in other words, too. */
const shortest = 4;

export type Redactor = {
  /** Settings as they are but for secrets. */
  settings(value: unknown): unknown;
  /** Any text, without what was a secret in the settings so far. */
  text(text: string): string;
};

export function createRedactor(): Redactor {
  const secrets = new Set<string>();
  const hide = (secret: string): string => {
    if (secret.length >= shortest) secrets.add(secret);
    return redacted;
  };
  const redactText = (name: string, text: string): string => {
    if (secretName.test(name) || (secretFileName.test(name) && !text.includes("/"))) return hide(text);
    const isPath = /^(?:\/|~|\.)/.test(text);
    if (!isPath && secretText.test(text)) return hide(text);
    return text.replaceAll(userInfo, hide).replaceAll(query, hide);
  };
  const redact = (value: unknown, name: string): unknown => {
    if (typeof value === "string") return redactText(name, value);
    if (typeof value === "number" && secretName.test(name)) return hide(String(value));
    if (Array.isArray(value)) return value.map((one) => redact(one, name));
    if (!isTree(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, redact(inner, key)]));
  };
  return {
    settings: (value) => redact(value, ""),
    text: (text) =>
      [...secrets]
        .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)])
        .toSorted((a, b) => b.length - a.length)
        .reduce((left, secret) => left.replaceAll(secret, redacted), text),
  };
}
