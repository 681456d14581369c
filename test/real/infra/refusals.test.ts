// What the charts refuse, and in which words: bad values, and values that would leave a control plane without its plugin.
import assert from "node:assert/strict";
import { after, suite, test } from "node:test";
import { chartDir, type ChartName, openHelm, type Values } from "./chart.ts";
import { fleet, gateway, shim } from "./variants.ts";

type Row = { readonly what: string; readonly values: Values; readonly says: readonly RegExp[] };

const shipped = { enabled: true };
const main = gateway.config.backends.main;

const ofGateways: readonly Row[] = [
  {
    what: "nothing at all: everything that is missing, at once",
    values: {},
    says: [
      /gateway\.image\.repository: is missing; name the image in a registry of your own/,
      /gateway\.tls: give one of existingSecret, certManager\.enabled and spire\.enabled \(0 are given\)/,
      /gateway\.config\.trustDomain: is missing/,
      /gateway\.registry: say where the registry is/,
    ],
  },
  {
    what: "a key that there is not",
    values: { gateway: { ...gateway, replica: 2 } },
    says: [/additional properties 'replica' not allowed/],
  },
  {
    what: "a setting that the gateway does not know",
    values: { gateway: { ...gateway, config: { ...gateway.config, key: { refresh: "5s" } } } },
    says: [/additional properties 'key' not allowed/],
  },
  {
    what: "a record with a setting that there is not",
    values: {
      gateway: { ...gateway, registry: { clusters: [{ ...gateway.registry.clusters[0], statee: "active" }] } },
    },
    says: [/additional properties 'statee' not allowed/],
  },
  {
    what: "a secret among the values",
    values: { gateway: { ...gateway, vault: { ...gateway.vault, secretId: "s" } } },
    says: [/additional properties 'secretId' not allowed/],
  },
  {
    what: "root",
    values: { gateway: { ...gateway, user: 0 } },
    says: [/gateway\/user.*minimum/s],
  },
  {
    what: "the tag latest",
    values: { gateway: { ...gateway, image: { ...gateway.image, tag: "latest" } } },
    says: [/gateway\.image\.tag: latest says nothing of what runs/],
  },
  {
    what: "two certificates",
    values: {
      gateway: {
        ...gateway,
        tls: {
          ...gateway.tls,
          certManager: { enabled: true, issuerRef: { name: "fleet" }, dnsNames: ["gateway.example"] },
        },
      },
    },
    says: [/gateway\.tls: give one of .* \(2 are given\)/],
  },
  {
    what: "a Certificate without issuer and names",
    values: { gateway: { ...gateway, tls: { certManager: shipped } } },
    says: [/certManager\.issuerRef\.name: is missing/, /certManager\.dnsNames: is empty/],
  },
  {
    what: "a sidecar without an image",
    values: { gateway: { ...gateway, tls: { spire: shipped } } },
    says: [
      /gateway\.tls\.spire\.image\.repository: is missing/,
      /gateway\.tls\.spire\.image: is missing its tag or digest/,
    ],
  },
  {
    what: "a file that no volume holds",
    values: {
      gateway: {
        ...gateway,
        config: {
          ...gateway.config,
          backends: {
            main: {
              ...main,
              auth: { kind: "kubernetes", role: "claviger-gateway", jwtFile: "/run/claviger-login/token" },
            },
          },
        },
      },
    },
    says: [/gateway\.config: \/run\/claviger-login\/token lies in no volume of the pod/],
  },
  {
    what: "a listener on loopback",
    values: { gateway: { ...gateway, config: { ...gateway.config, listen: { address: "127.0.0.1" } } } },
    says: [/gateway\.config\.listen\.address: nothing outside the pod reaches 127\.0\.0\.1; leave it out/],
  },
  {
    what: "a key file for several replicas",
    values: {
      gateway: {
        ...gateway,
        config: { ...gateway.config, backends: { local: { kind: "embedded", file: "/etc/claviger/vault/keys.json" } } },
      },
    },
    says: [/backends\.local: a key file cannot be shared by 12 replicas/],
  },
  {
    what: "records that nobody would read",
    values: {
      gateway: {
        ...gateway,
        config: { ...gateway.config, registry: { kind: "vault", backend: "main", mount: "claviger" } },
      },
    },
    says: [/gateway\.registry\.clusters: the registry is elsewhere/],
  },
  {
    what: "a Vault Agent without a configuration",
    values: {
      gateway: {
        ...gateway,
        vault: { ...gateway.vault, agent: { enabled: true, image: { repository: "a/b", tag: "1" } } },
      },
    },
    says: [/gateway\.vault\.agent\.config: is missing/],
  },
  {
    what: "every sample twice",
    values: { gateway: { ...gateway, serviceMonitor: shipped, podMonitor: shipped } },
    says: [/with both every sample is there twice/],
  },
  {
    what: "a fleet service without what nodes are to trust",
    values: { gateway: { enabled: false }, fleet: { ...fleet, trustBundle: {} } },
    says: [/fleet\.trustBundle\.configMap: is missing/],
  },
  {
    what: "nothing to install",
    values: { gateway: { enabled: false } },
    says: [/nothing is to be installed/],
  },
];

const ofShim: readonly Row[] = [
  {
    what: "nothing at all",
    values: {},
    says: [/image\.repository: is missing/, /config\.gateways: is missing/],
  },
  {
    what: "gateways behind the cluster's own DNS",
    values: {
      ...shim,
      config: {
        gateways: [
          "https://gateway.claviger.svc:8443",
          "https://gateway.claviger.svc.cluster.local:8443",
          "https://gateway:8443",
          "https://gateway.fleet.example:8443",
          "https://192.0.2.7:8443",
        ],
        renewal: { url: "https://fleet.claviger.svc:8444" },
      },
    },
    says: [
      /https:\/\/gateway\.claviger\.svc:8443 leads through this cluster: cluster DNS and Services come after/,
      /https:\/\/gateway\.claviger\.svc\.cluster\.local:8443 leads through/,
      /https:\/\/gateway:8443 leads through this cluster: a name without a domain/,
      /https:\/\/fleet\.claviger\.svc:8444 leads through/,
    ],
  },
  ...["*.*", "*.", "pods", "configmaps", "serviceaccounts", "leases.coordination.k8s.io"].map((one) => ({
    what: `a DaemonSet where ${one} is encrypted`,
    values: { ...shim, mode: "daemonset", encrypted: ["secrets", one] },
    says: [/encrypted: with mode daemonset .* may not be encrypted: a node that comes up reads it from kube-apiserver/],
  })),
  {
    what: "a certificate outside of what the pod sees",
    values: { ...shim, config: { ...shim.config, tls: { cert: "/root/tls.crt" } } },
    says: [/config\.tls\.cert: \/root\/tls\.crt lies in no directory that the shim has/],
  },
  {
    what: "a socket in a directory of the system",
    values: { ...shim, config: { ...shim.config, socket: { path: "/run/kms.sock" } } },
    says: [/config\.socket\.path: the shim and kube-apiserver share the whole directory \/run/],
  },
  {
    what: "metrics that nobody reaches",
    values: { ...shim, podMonitor: shipped },
    says: [/podMonitor: Prometheus does not reach the node's loopback/],
  },
  {
    what: "a removal at the first install",
    values: { ...shim, staticPod: { state: "absent" } },
    says: [/staticPod\.state: absent is for the upgrade of a release/],
  },
  { what: "a mode that there is not", values: { ...shim, mode: "deployment" }, says: [/mode.*must be one of/s] },
  { what: "root", values: { ...shim, user: 0 }, says: [/user.*minimum/s] },
  {
    what: "a pull secret, which a node that comes up could not read",
    values: { ...shim, imagePullSecrets: [{ name: "pull" }] },
    says: [/additional properties 'imagePullSecrets' not allowed/],
  },
];

suite("The charts refuse", () => {
  const helm = openHelm();
  after(() => helm.close());

  for (const [chart, rows] of [
    ["claviger", ofGateways],
    ["claviger-shim", ofShim],
  ] as readonly (readonly [ChartName, readonly Row[]])[])
    for (const { what, values, says } of rows)
      test(`${chart}: ${what}`, async () => {
        const { code, stdout, stderr } = await helm.helm(["template", "release", chartDir(chart)], values);
        assert.notEqual(code, 0, stdout);
        for (const pattern of says) assert.match(stderr, pattern);
        // Neither a line of a template nor of Go is what the reader needs.
        assert.doesNotMatch(stderr, /nil pointer|error calling include|executing "[^"]*" at <\.Values/);
        const problems = stderr
          .split("\n")
          .filter((line) => /^(?:gateway|fleet|config|image|mode|encrypted|podMonitor|staticPod)[.:,]/.test(line));
        const isOfSchema = stderr.includes("schema");
        assert.ok(isOfSchema || problems.length === says.length, `says more than is wrong:\n${problems.join("\n")}`);
      });

  test("but a gateway whose address is none of the cluster's, or an IP address, is taken", async () => {
    for (const url of ["https://gateway.svc.example:8443", "https://192.0.2.7:8443", "https://[2001:db8::7]:8443"])
      await helm.render("claviger-shim", { ...shim, config: { gateways: [url] } });
  });
});
