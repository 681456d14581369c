// Charts and manifests for the test's site: the values that charts.test.ts renders, and infra/gateway, with what is different here.
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Document, parseDocument } from "yaml";
import { fleet, gateway } from "../infra/variants.ts";
import type { Values } from "../infra/chart.ts";
import { trustDomain } from "../../lab/fleet.ts";
import { integrityKey, transitMount } from "../../lab/openbao.ts";
import { prefix } from "./images.ts";
import { served, type Site } from "./site.ts";

const record = {
  name: served,
  uid: "01JD9Z6X3QK8V5T7W2M4N6P8RA",
  state: "active",
  keys: [{ backend: "main", mount: transitMount, key: served }],
};
const ca = "/etc/claviger/vault/ca.crt";
// No balancer gives an address here.
const service = { type: "NodePort" };
const integrity = { backend: "main", mount: transitMount, key: integrityKey, version: 1 };

/** The kustomize tree of gateways for the site, made in a directory from the one of infra. */
export function writeGatewayTree({ vault }: Site, directory: string): void {
  cpSync(join(import.meta.dirname, "..", "..", "..", "infra", "gateway"), directory, { recursive: true });
  const edit = (file: string, change: (document: Document) => void): void => {
    const document = parseDocument(readFileSync(join(directory, file), "utf8"));
    change(document);
    writeFileSync(join(directory, file), document.toString());
  };
  edit("gateway.yaml", (document) => {
    document.setIn(["trustDomain"], trustDomain);
    document.setIn(["backends", "main", "addresses"], [vault]);
  });
  edit("clusters.yaml", (document) => document.setIn(["clusters"], [record]));
  // There is no Prometheus operator.
  edit("kustomization.yaml", (document) => {
    const { resources } = document.toJS() as { readonly resources: readonly string[] };
    document.setIn(
      ["resources"],
      resources.filter((file) => file !== "servicemonitor.yaml"),
    );
  });
}

/** @param config settings of the gateways to add */
export function gatewayValues({ vault, redis }: Site, config: Values = {}): Values {
  const { auth } = gateway.config.backends.main;
  return {
    gateway: {
      ...gateway,
      image: { repository: `${prefix}/gateway` },
      service,
      registry: { clusters: [record] },
      // The kube-apiserver of this cluster has no EncryptionConfiguration: the shim here is another one's.
      servesOtherClustersOnly: true,
      config: {
        trustDomain,
        backends: { main: { kind: "vault", addresses: [vault], tls: { ca }, auth } },
        redis: { kind: "standalone", node: redis, passwordFile: "/etc/claviger/vault/redis-password" },
        integrity,
        ...config,
      },
    },
  };
}

export function fleetValues({ vault }: Site, gateways: readonly string[]): Values {
  const kv = { kind: "vault", backend: "main", mount: "kv" };
  return {
    gateway: { enabled: false },
    fleet: {
      ...fleet,
      image: { repository: `${prefix}/fleet` },
      service,
      config: {
        trustDomain,
        registry: { ...kv, path: "registry" },
        tokens: kv,
        certificates: { ca: { kind: "vault", backend: "main", mount: "pki", role: "claviger-node" } },
        gateways,
        operators: { ada: { role: "admin" } },
        backends: {
          main: {
            kind: "vault",
            addresses: [vault],
            tls: { ca },
            auth: { kind: "token", file: "/etc/claviger/vault/token" },
          },
        },
      },
    },
  };
}

export function shimValues(gateways: readonly string[], more: Values = {}): Values {
  return {
    image: { repository: `${prefix}/shim` },
    check: { image: { repository: `${prefix}/cli` } },
    config: { gateways },
    ...more,
  };
}
