// The completion for zsh, with what each command and option does.
import { type Flag, type Place, quoted, type Value } from "./tree.ts";

/** NAME:DESCRIPTION, as `_describe` takes it. */
function described({ name, description }: { readonly name: string; readonly description: string }): string {
  return quoted(`${name.replaceAll(":", String.raw`\:`)}:${description}`);
}

function candidates(value: Value): string | undefined {
  switch (value.kind) {
    case "file":
      return "_files";
    case "choices":
      return `compadd -- ${value.choices.map(quoted).join(" ")}`;
    case "none":
    case "other":
      return undefined;
  }
}

function placeBranch({ path, commands, flags }: Place): string {
  const valued = flags.filter((flag: Flag) => flag.value.kind !== "none");
  return `    ${quoted(path)})
      commands=(${commands.map(described).join(" ")})
      names=(${commands.map(({ name }) => quoted(name)).join(" ")})
      flags=(${flags.map(described).join(" ")})
      valued=(${valued.map(({ name }) => quoted(name)).join(" ")})
      ;;`;
}

function valueBranches({ path, flags, argument }: Place): readonly string[] {
  return [...flags, { name: "", value: argument }].flatMap(({ name, value }) => {
    const how = candidates(value);
    return how === undefined ? [] : [`    ${quoted(`${path}:${name}`)}) ${how} ;;`];
  });
}

/** The script. */
export function zshScript(places: readonly Place[]): string {
  return `#compdef claviger
# Completion of claviger for zsh: a file _claviger in a directory of $fpath, or sourced after compinit.
_claviger_place() {
  case "$1" in
${places.map(placeBranch).join("\n")}
    *) return 1 ;;
  esac
}

_claviger_value() {
  case "$1" in
${places.flatMap(valueBranches).join("\n")}
  esac
}

_claviger() {
  local at="" option="" word i
  local -a commands names flags valued
  _claviger_place ""
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    if [[ -n $option ]]; then
      option=""
    elif [[ $word == -* ]]; then
      (( \${valued[(Ie)$word]} )) && option="$word"
    elif (( \${names[(Ie)$word]} )); then
      at="\${at:+$at }$word"
      _claviger_place "$at" || return 0
    fi
  done
  if [[ -n $option ]]; then
    _claviger_value "$at:$option"
  elif [[ \${words[CURRENT]} == -* ]]; then
    _describe -o option flags
  elif (( $#commands )); then
    _describe command commands
  else
    _claviger_value "$at:"
  fi
}

if [[ $funcstack[1] == _claviger ]]; then
  _claviger "$@"
else
  compdef _claviger claviger
fi
`;
}
