// Settings without what could be a secret. None of ours stands in a configuration; a kube-apiserver's keys do in an
// EncryptionConfiguration, and somebody may have put one where it does not belong.
import { isTree } from "@claviger/proto/runtime/config.ts";

/** What stands in the place of a secret. */
export const redacted = "[secret]";

/** Names of settings whose text is a secret, and not the path of a file. */
const secretName = /(?:secret|token|password|passphrase|authorization|cookie)$/i;
/** As a PEM block, a token or base64 of a key has it; paths, URLs and names are shorter between their separators. */
const secretText = /-----BEGIN|^(?:hvs|hvb|s|b|clvt_)[._]|(?<![\w+/=-])[\w+/=-]{40,}(?![\w+/=-])/;

function redactText(name: string, text: string): string {
  if (secretName.test(name)) return redacted;
  const isPath = /^(?:\/|~|\.)/.test(text);
  if (!isPath && secretText.test(text)) return redacted;
  return text.replace(/\/\/[^/@\s]+@/, `//${redacted}@`);
}

/** @param name of the setting whose value this is */
export function redactSettings(value: unknown, name = ""): unknown {
  if (typeof value === "string") return redactText(name, value);
  if (Array.isArray(value)) return value.map((one) => redactSettings(one, name));
  if (!isTree(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, redactSettings(inner, key)]));
}
