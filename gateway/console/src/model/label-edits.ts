// Changes of labels in kubectl's words, as `claviger cluster label` takes them.

export type LabelEdits = { readonly set: Readonly<Record<string, string>>; readonly remove: readonly string[] };

/** @param text `KEY=VALUE` and `KEY-`, with spaces between them. @throws RangeError */
export function parseLabelEdits(text: string): LabelEdits {
  const set: Record<string, string> = {};
  const remove: string[] = [];
  for (const word of text.split(/\s+/).filter((one) => one !== "")) {
    const at = word.indexOf("=");
    if (at > 0) set[word.slice(0, at)] = word.slice(at + 1);
    else if (at < 0 && word.length > 1 && word.endsWith("-")) remove.push(word.slice(0, -1));
    else throw new RangeError(`${JSON.stringify(word)} must be KEY=VALUE, or KEY- to take it away`);
  }
  if (Object.keys(set).length === 0 && remove.length === 0) throw new RangeError("say which labels are to change");
  return { set, remove };
}
