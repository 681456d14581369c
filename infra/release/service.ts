// What a service brings besides its program: unit, user, directories, rotation of its audit file,
// configuration.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { changed } from "./changed.ts";
import { root } from "./source.ts";

export type Service = {
  readonly name: "claviger-shim" | "claviger-gateway" | "claviger-fleet";
  readonly description: string;
  /** Directories that the service made, by the names below /var/lib, /var/cache and /var/log. */
  readonly state: string;
  /** What is in its state cannot be made again: no purge removes it. */
  readonly isPrecious: boolean;
  /** Files by where they go. */
  readonly files: Readonly<Record<string, string>>;
  /** The same for those that the administrator edits. */
  readonly configuration: Readonly<Record<string, string>>;
};

function text(path: string): string {
  return readFileSync(join(root, "infra", path), "utf8");
}

/** The unit as a package has it: its own Node.js, and a user of its own. */
function unitOf(name: Service["name"], path: string): string {
  const unit = text(path);
  return changed(unit, [
    [unit.slice(0, unit.indexOf("[Unit]")), ""],
    ["ExecStart=/usr/bin/node ", "ExecStart=/usr/lib/claviger/node "],
    [` /opt/claviger/${name}.mjs `, ` /usr/lib/claviger/${name}.mjs `],
    ["User=65532\n", `User=${name}\n`],
    ["Group=65532\n", `Group=${name}\n`],
  ]);
}

function common(name: Service["name"], unit: string, state: string): Readonly<Record<string, string>> {
  return {
    [`/usr/lib/systemd/system/${name}.service`]: unitOf(name, unit),
    [`/usr/lib/sysusers.d/${name}.conf`]: `u ${name} - "Claviger" /var/lib/${state}\n`,
  };
}

/** Gateway and fleet service open a file anew by themselves once it was renamed. */
function rotation(name: Service["name"]): Readonly<Record<string, string>> {
  return {
    [`/etc/logrotate.d/${name}`]: `# Audit records: claviger audit verify reads the rotated files as well, compressed or not.
/var/log/${name}/*.jsonl {
    su ${name} ${name}
    daily
    rotate 400
    dateext
    compress
    delaycompress
    missingok
    notifempty
    nocreate
}
`,
  };
}

/** The configuration of a gateway or fleet service on a machine, not in a pod: records go to a file. */
function onMachine(name: Service["name"], yaml: string): string {
  return changed(yaml.replaceAll(/ # one more file of that Secret|networkpolicy\.yaml closes it to others\./g, ""), [
    ["sinks: [{ kind: stdout }]", `sinks: [{ kind: file, path: /var/log/${name}/audit.jsonl }]`],
  ]);
}

export function services(): readonly Service[] {
  const shim = text("shim/shim.yaml");
  return [
    {
      name: "claviger-shim",
      description: "KMS plugin of kube-apiserver that holds no key and no Vault credential",
      state: "claviger",
      isPrecious: false,
      files: {
        ...common("claviger-shim", "shim/claviger-shim.service", "claviger"),
        "/usr/lib/tmpfiles.d/claviger-shim.conf": text("shim/claviger.tmpfiles.conf")
          .replace(/^# \/etc\/tmpfiles\.d\/claviger\.conf: t/, "# T")
          .replaceAll("65532 65532", "claviger-shim claviger-shim"),
      },
      configuration: {
        "/etc/claviger/shim.yaml": changed(shim, [
          [
            shim.slice(0, shim.indexOf("socket:")),
            "# docs/reference/settings.md and claviger-shim.yaml(5) have every setting.\n",
          ],
          ["  group: 65532\n", "  # group: 0\n"],
          [
            "connects whatever this says.",
            "connects whatever this says; for another one, add claviger-shim to its group.",
          ],
        ]),
      },
    },
    {
      name: "claviger-gateway",
      description: "Remote KMS for Kubernetes fleets: serves shims from Vault or OpenBao",
      state: "claviger-gateway",
      isPrecious: true,
      files: common("claviger-gateway", "gateway/claviger-gateway.service", "claviger-gateway"),
      configuration: {
        "/etc/claviger/gateway.yaml": onMachine("claviger-gateway", text("gateway/gateway.yaml")),
        ...rotation("claviger-gateway"),
      },
    },
    {
      name: "claviger-fleet",
      description: "Control plane of a Claviger fleet: certificates of nodes, operators, console",
      state: "claviger-fleet",
      isPrecious: true,
      files: common("claviger-fleet", "fleet/claviger-fleet.service", "claviger-fleet"),
      configuration: {
        "/etc/claviger/fleet.yaml": onMachine("claviger-fleet", text("fleet/fleet.yaml")),
        ...rotation("claviger-fleet"),
      },
    },
  ];
}
