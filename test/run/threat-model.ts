// `npm run threat-model`: attacks the real parts and writes what it finds to docs/threat-model.md.
// See `--help`.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { installBinaries } from "../parts/install.ts";
import { differences, render } from "../threat-model/document.ts";
import { runThreatModel } from "../threat-model/run.ts";
import { root } from "./files.ts";
import { runProgram, say } from "./program.ts";

const file = join(root, "docs", "threat-model.md");
const usage = `npm run threat-model [-- --check]

Starts real etcd, kube-apiserver, OpenBao, Redis, gateway and shim, SOPS and External Secrets, takes what an attacker would have in each place, searches or uses it,
and writes what was found to docs/threat-model.md. Needs root, for the memory of processes and an encrypted file system.

  --check   writes nothing; fails where the document says something else
`;

await runProgram({
  usage,
  parse(args) {
    const options = { check: { type: "boolean", default: false }, help: { type: "boolean", short: "h" } } as const;
    const { values } = parseArgs({ args, options });
    return values.help === true ? undefined : { isCheck: values.check };
  },
  async run({ isCheck }, signal) {
    await installBinaries({ signal, isAll: true });
    const pieces = await runThreatModel({ signal, say, isAll: true });
    const text = render(pieces);
    if (!isCheck) {
      writeFileSync(file, text);
      process.stdout.write(text);
      return 0;
    }
    const found = differences(readFileSync(file, "utf8"), pieces, true);
    for (const one of found) say(one);
    return found.length === 0 ? 0 : 1;
  },
});
