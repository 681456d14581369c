// The completion for bash: a function that needs nothing but bash itself. Works in bash 3.2 as well, which has no
// associative arrays.
import { type Flag, type Place, quoted, type Value } from "./tree.ts";

function branch(pattern: string, ...lines: readonly string[]): string {
  return [`      ${pattern})`, ...lines.map((line) => `        ${line}`), "        ;;"].join("\n");
}

function words(list: readonly string[]): string {
  return quoted(list.join(" "));
}

/** How candidates of a value are found; undefined where there are none. */
function candidates(value: Value): string | undefined {
  switch (value.kind) {
    case "file":
      return "_claviger_files";
    case "choices":
      return `_claviger_words ${words(value.choices)}`;
    case "none":
    case "other":
      return undefined;
  }
}

function takesValue({ value }: Flag): boolean {
  return value.kind !== "none";
}

/** What stands at a place: its words and options, and which of these take a value. */
function placeBranch({ path, commands, flags }: Place): string {
  const valued = flags.filter(takesValue).map(({ name }) => name);
  return branch(
    quoted(path),
    `commands=${words(commands.map(({ name }) => name))}`,
    `flags=${words(flags.map(({ name }) => name))}`,
    `valued=${words(valued)}`,
  );
}

function valueBranches({ path, flags, argument }: Place): readonly string[] {
  const all = [...flags, { name: "", value: argument }];
  return all.flatMap(({ name, value }) => {
    const how = candidates(value);
    return how === undefined ? [] : [branch(quoted(`${path}:${name}`), how)];
  });
}

/** The script. */
export function bashScript(places: readonly Place[]): string {
  return `# Completion of claviger for bash: source it, or put it where bash-completion finds it.
_claviger_words() {
  COMPREPLY=($(compgen -W "$1" -- "$cur"))
}

_claviger_files() {
  compopt -o filenames 2>/dev/null
  local IFS=$'\\n'
  COMPREPLY=($(compgen -f -- "$cur"))
}

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
  local cur="\${COMP_WORDS[COMP_CWORD]}" path="" option="" i word commands flags valued
  COMPREPLY=()
  _claviger_place ""
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    # bash parts --option=value into three words.
    [[ $word == "=" ]] && continue
    if [[ -n $option ]]; then
      option=""
    elif [[ $word == -* ]]; then
      [[ " $valued " == *" $word "* ]] && option="$word"
    elif [[ " $commands " == *" $word "* ]]; then
      path="\${path:+$path }$word"
      _claviger_place "$path" || return 0
    fi
  done
  [[ $cur == "=" ]] && cur=""
  if [[ -n $option ]]; then
    _claviger_value "$path:$option"
  elif [[ $cur == -* ]]; then
    _claviger_words "$flags"
  elif [[ -n $commands ]]; then
    _claviger_words "$commands"
  else
    _claviger_value "$path:"
  fi
  return 0
}

complete -F _claviger claviger
`;
}
