// What a service brings besides its program: unit, user, directories, rotation of its audit file,
// configuration.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { changed } from "./changed.ts";
import { root } from "./source.ts";

export type Service = {
  readonly name: "claviger-shim" | "claviger-gateway" | "claviger-fleet";
  /** A line, and more of it. */
  readonly summary: string;
  readonly about: string;
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
    ["ExecStart=/usr/bin/node ", "ExecStart=/usr/libexec/claviger/node "],
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

/** Records of a gateway or fleet service on a machine, not in a pod: they go to a file. */
function recordsOf(name: Service["name"]): readonly (readonly [string, string])[] {
  return [
    [
      "# stdout is a sink here because the node's log collector ships it",
      `# A file, which /etc/logrotate.d/${name} rotates`,
    ],
    ["sinks: [{ kind: stdout }]", `sinks: [{ kind: file, path: /var/log/${name}/audit.jsonl }]`],
  ];
}

export function services(): readonly Service[] {
  const shim = text("shim/shim.yaml");
  return [
    {
      name: "claviger-shim",
      summary: "KMS plugin of kube-apiserver that holds no key and no Vault credential",
      about:
        "Runs on every control-plane node: speaks KMS v2 and v1beta1 with kube-apiserver\non a unix socket, and mutual TLS with the gateways.",
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
      summary: "Remote KMS for Kubernetes fleets: serves shims from Vault or OpenBao",
      about:
        "Gateways serve all shims of a fleet, and encrypt with Transit of Vault or\nOpenBao, under a key for each cluster.",
      state: "claviger-gateway",
      isPrecious: true,
      files: common("claviger-gateway", "gateway/claviger-gateway.service", "claviger-gateway"),
      configuration: {
        "/etc/claviger/gateway.yaml": changed(text("gateway/gateway.yaml"), [
          ...recordsOf("claviger-gateway"),
          ["the memory limit in deployment.yaml", "MemoryMax= of the unit"],
          [
            "Plain HTTP for kubelet and Prometheus; says nothing about keys. networkpolicy.yaml closes it to others.",
            "Plain HTTP for Prometheus; says nothing about keys.",
          ],
          ["address: 0.0.0.0, port: 9443", "address: 127.0.0.1, port: 9443"],
          ["   # one more file of that Secret", ""],
          ["/var/lib/claviger/keys.json", "/var/lib/claviger-gateway/keys.json"],
          ["a Vault Agent keeps it fresh: infra/vault-agent", "a Vault Agent keeps it fresh"],
        ]),
        ...rotation("claviger-gateway"),
      },
    },
    {
      name: "claviger-fleet",
      summary: "Control plane of a Claviger fleet: certificates of nodes, operators, console",
      about:
        "Gives nodes their certificates, and lets operators see and change the fleet.\nGateways and shims need it for no call.",
      state: "claviger-fleet",
      isPrecious: true,
      files: common("claviger-fleet", "fleet/claviger-fleet.service", "claviger-fleet"),
      configuration: {
        "/etc/claviger/fleet.yaml": changed(text("fleet/fleet.yaml"), [
          ...recordsOf("claviger-fleet"),
          [
            "Plain HTTP for kubelet and Prometheus. networkpolicy.yaml closes it to others.",
            "Plain HTTP for Prometheus.",
          ],
          ["address: 0.0.0.0, port: 9444", "address: 127.0.0.1, port: 9444"],
          ["   as in infra/kubernetes-auth", ""],
        ]),
        ...rotation("claviger-fleet"),
      },
    },
  ];
}
