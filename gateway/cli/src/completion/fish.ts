// The completion for fish, with what each command and option does.
import type { Flag, Place, Value } from "./tree.ts";

function quotedForFish(text: string): string {
  return `'${text.replaceAll("\\", String.raw`\\`).replaceAll("'", String.raw`\'`)}'`;
}

function ofValue(value: Value): string {
  switch (value.kind) {
    case "none":
      return "";
    case "file":
      return " -r -F";
    case "choices":
      return ` -x -a ${quotedForFish(value.choices.join(" "))}`;
    case "other":
      return " -x";
  }
}

function flagName(name: string): string {
  return name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`;
}

function placeBranch({ path, commands, flags }: Place): string {
  const valued = flags.filter((flag: Flag) => flag.value.kind !== "none");
  return `    case ${quotedForFish(path)}
      set -g __claviger_commands ${commands.map(({ name }) => name).join(" ")}
      set -g __claviger_valued ${valued.map(({ name }) => name).join(" ")}`;
}

function lines({ path, commands, flags, argument }: Place): readonly string[] {
  const at = `complete -c claviger -n ${quotedForFish(`__claviger_at ${quotedForFish(path)}`)}`;
  return [
    ...commands.map(({ name, description }) => `${at} -a ${quotedForFish(name)} -d ${quotedForFish(description)}`),
    ...flags.map(
      ({ name, description, value }) => `${at} ${flagName(name)}${ofValue(value)} -d ${quotedForFish(description)}`,
    ),
    ...(argument.kind === "file" || argument.kind === "choices" ? [`${at}${ofValue(argument)}`] : []),
  ];
}

/** The script. */
export function fishScript(places: readonly Place[]): string {
  return `# Completion of claviger for fish: a file claviger.fish in ~/.config/fish/completions.
function __claviger_place
  switch $argv[1]
${places.map(placeBranch).join("\n")}
    case '*'
      return 1
  end
  return 0
end

# Is this the place that the words up to the cursor come to?
function __claviger_at
  set -l path ''
  set -l isValue 0
  __claviger_place ''
  for word in (commandline -opc)[2..-1]
    if test $isValue = 1
      set isValue 0
    else if string match -q -- '-*' $word
      contains -- $word $__claviger_valued; and set isValue 1
    else if contains -- $word $__claviger_commands
      set path (string trim -- "$path $word")
      __claviger_place $path; or return 1
    end
  end
  test "$path" = "$argv[1]"
end

complete -c claviger -f
${places.flatMap(lines).join("\n")}
`;
}
