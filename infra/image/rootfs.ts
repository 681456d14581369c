// Puts together the whole file tree of an image: the Node.js binary, the libraries it loads, one
// bundle, two lines of /etc/passwd. No shell, no package manager, no /tmp. The Dockerfiles copy it
// onto `scratch`; the same tree can be tried with chroot.
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    bundle: { type: "string" },
    console: { type: "string" },
    out: { type: "string" },
    node: { type: "string", default: process.execPath },
  },
});
const { bundle = "", out = "", node } = values;
if (bundle === "" || out === "")
  throw new Error("usage: rootfs.ts --bundle dist/NAME.mjs --out DIR [--console dist/console] [--node BINARY]");

function place(from: string, to: string): void {
  mkdirSync(dirname(join(out, to)), { recursive: true });
  copyFileSync(realpathSync(from), join(out, to));
}
place(node, "/usr/bin/node");
// `libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x…)`, and the loader as
// `/lib64/ld-linux-x86-64.so.2 (0x…)`.
const libraries = [...execFileSync("ldd", [node], { encoding: "utf8" }).matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(
  ([, path]) => path ?? "",
);
if (libraries.length === 0) throw new Error(`ldd names no library of ${node}`);
for (const library of libraries) place(library, library);
place(bundle, "/app/main.mjs");
// The fleet service looks for its pages beside its program.
if (values.console !== undefined) cpSync(values.console, join(out, "app", "console"), { recursive: true });
// The compile cache is filled by the image's last build step, under the paths and flags it is used
// with.
mkdirSync(join(out, "app", "cache"), { recursive: true });
mkdirSync(join(out, "etc"), { recursive: true });
writeFileSync(join(out, "etc", "passwd"), "claviger:x:65532:65532:claviger:/nonexistent:/sbin/nologin\n");
writeFileSync(join(out, "etc", "group"), "claviger:x:65532:\n");
cpSync("LICENSE", join(out, "LICENSE"));
