// `npm run release -- --out DIR ...`: everything that an operator gets, from the commit that is checked out.
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { makeRelease } from "../../infra/release/release.ts";
import { isDirty, readSource } from "../../infra/release/source.ts";
import { installReleaseParts } from "../parts/release.ts";
import { runProgram, say, UsageError } from "./program.ts";

const usage = `npm run release [-- --out DIR] [--image-prefix REGISTRY/NAME] [--npm-scope @NAME] [--sign-key FILE]

Makes images, charts, deb and rpm packages, npm packages, their SBOMs and SHA256SUMS from the commit that is checked out.

  --out DIR                      an empty or new directory (dist/release)
  --image-prefix REGISTRY/NAME   stands before the name of each image, in the charts as well (registry.invalid/claviger, and
                                 charts that ask for one)
  --npm-scope @NAME              a scope of npm that is yours; without it the npm packages cannot be published
  --sign-key FILE                minisign's secret key, which signs SHA256SUMS; its password is asked for
`;

type Options = {
  readonly out: string;
  readonly imagePrefix: string | undefined;
  readonly npmScope: string | undefined;
  readonly signKey: string | undefined;
};

function parse(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      out: { type: "string", default: "dist/release" },
      "image-prefix": { type: "string" },
      "npm-scope": { type: "string" },
      "sign-key": { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  if (!/^[a-z0-9.-]+(?::\d+)?(?:\/[a-z0-9._-]+)+$/.test(values["image-prefix"] ?? "none/none"))
    throw new UsageError("--image-prefix is a registry and a name: registry.example/team");
  if (!/^@[a-z0-9-]+$/.test(values["npm-scope"] ?? "@none"))
    throw new UsageError("--npm-scope is a scope of npm: @example");
  const signKey = values["sign-key"];
  return {
    out: resolve(values.out),
    imagePrefix: values["image-prefix"],
    npmScope: values["npm-scope"],
    signKey: signKey === undefined ? undefined : resolve(signKey),
  };
}

await runProgram({
  usage,
  parse,
  run: async (options, signal) => {
    const parts = await installReleaseParts({ signal });
    const source = readSource();
    if (isDirty(source)) say("Files differ from the commit: this is for trying out, nobody else can make it again.");
    await makeRelease({ ...options, source, parts, nodeVersions: process.versions, say });
    if (options.signKey === undefined) say("Not signed: --sign-key FILE signs SHA256SUMS");
    say(`${options.out} has it`);
    return 0;
  },
});
