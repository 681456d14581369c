// What is in each artifact, as a CycloneDX 1.6 bill of materials
// (https://cyclonedx.org/docs/1.6/json/). The only file that imports CycloneDX's library, which has
// the schema that each one is held against.
import { createHash } from "node:crypto";
import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
import { type LockedPackage, lockedPackage } from "./locked.ts";
import { type Architecture, libraryPackages, nodePackages } from "./pins.ts";
import type { Source } from "./source.ts";

type Hash = { readonly alg: string; readonly content: string };

/** A component, as the schema has it. */
export type Component = {
  readonly type: "library" | "application" | "platform";
  readonly "bom-ref": string;
  readonly group?: string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly cpe?: string;
  readonly hashes?: readonly Hash[];
  readonly licenses?: readonly object[];
  readonly properties?: readonly { readonly name: string; readonly value: string }[];
  readonly components?: readonly Component[];
};

function licencesOf(licences: readonly string[]): readonly object[] {
  const [only = "", ...others] = licences;
  if (others.length === 0 && / (?:AND|OR|WITH) /.test(only)) return [{ expression: only }];
  return licences.map((one) => ({ license: one.includes(" ") ? { name: one } : { id: one } }));
}

function npmPurl(name: string, version: string): string {
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

function sha512Of(integrity: string): readonly Hash[] {
  return [{ alg: "SHA-512", content: Buffer.from(integrity.replace("sha512-", ""), "base64").toString("hex") }];
}

/** A package of npm, with the hash of the archive that the registry serves. */
export function npmComponent({ name, version, licences, integrity }: LockedPackage): Component {
  const [group, base] = name.startsWith("@") ? name.split("/") : [undefined, name];
  const purl = npmPurl(name, version);
  return {
    type: "library",
    "bom-ref": purl,
    ...(group !== undefined && { group }),
    name: base ?? name,
    version,
    purl,
    hashes: sha512Of(integrity),
    licenses: licencesOf(licences),
  };
}

/** Numbers of interfaces, not of things that are inside. */
const interfaces = new Set(["node", "modules", "napi"]);

/**
 * Node.js and what it has inside.
 * @param versions of the very Node.js: `process.versions` of one that is it
 * @throws Error where that is another one
 */
export function nodeComponent(architecture: Architecture, versions: NodeJS.ProcessVersions): Component {
  const { name, version, integrity } = lockedPackage(`node_modules/${nodePackages[architecture]}`);
  if (versions.node !== version)
    throw new Error(`a release is made by Node.js ${version}, which npm brings for Linux; this is ${versions.node}`);
  const purl = npmPurl(name, version);
  const inside = Object.entries(versions).flatMap(([part, of]) =>
    of === undefined || interfaces.has(part)
      ? []
      : [
          {
            type: "library" as const,
            "bom-ref": `${purl}#${part}`,
            name: part,
            version: of,
            purl: `pkg:generic/${part}@${of}`,
          },
        ],
  );
  return {
    type: "platform",
    "bom-ref": purl,
    name: "node",
    version,
    purl,
    cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`,
    hashes: sha512Of(integrity),
    licenses: licencesOf(["MIT"]),
    properties: [
      {
        name: "claviger:origin",
        value: `the binary of npm's package ${name}; not compared with the SHASUMS256.txt of nodejs.org`,
      },
    ],
    components: inside,
  };
}

/** Debian's libraries in the images. */
export function libraryComponents(architecture: Architecture): readonly Component[] {
  return libraryPackages
    .filter(({ files }) => files.length > 0)
    .map(({ name, version, sha256, licence }) => {
      const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}&distro=debian-12`;
      return {
        type: "library",
        "bom-ref": purl,
        name,
        version,
        purl,
        hashes: [{ alg: "SHA-256", content: sha256[architecture] }],
        licenses: licencesOf([licence]),
      };
    });
}

/** A number that the content alone gives (RFC 9562 section 5.8). */
function serialOf(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex");
  return `urn:uuid:${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/**
 * The bill of an artifact, as JSON that the schema accepts.
 * @param artifact its file name and content
 * @throws Error where the schema does not accept it
 */
export async function billOf(
  artifact: {
    readonly file: string;
    readonly content: Buffer;
    readonly version: string;
    readonly kind: "container" | "application";
  },
  components: readonly Component[],
  { version, epoch }: Source,
): Promise<string> {
  const { file, content, kind } = artifact;
  const own = `pkg:generic/${encodeURIComponent(file)}@${artifact.version}`;
  const bill = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      timestamp: new Date(epoch * 1000).toISOString(),
      lifecycles: [{ phase: "build" }],
      tools: { components: [{ type: "application", name: "npm run release", version }] },
      component: {
        type: kind,
        "bom-ref": own,
        name: file,
        version: artifact.version,
        purl: own,
        hashes: [{ alg: "SHA-256", content: createHash("sha256").update(content).digest("hex") }],
        licenses: licencesOf(["Apache-2.0"]),
      },
    },
    components,
    dependencies: [{ ref: own, dependsOn: components.map((one) => one["bom-ref"]) }],
  };
  const text = JSON.stringify({ ...bill, serialNumber: serialOf(JSON.stringify(bill)) }, undefined, 2);
  const problem: unknown = await new Validation.JsonStrictValidator(Spec.Spec1dot6.version).validate(text);
  if (problem !== null) throw new Error(`the bill of ${file} is not CycloneDX 1.6: ${JSON.stringify(problem)}`);
  return `${text}\n`;
}
