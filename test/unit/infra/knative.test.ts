// The form of the Envoy configurations of infra/knative: no Envoy is run here.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseYaml } from "@claviger/proto/runtime/config.ts";

const folder = join(import.meta.dirname, "..", "..", "..", "infra", "knative");
type Socket = {
  readonly name: string;
  readonly typed_config: { readonly "@type": string; readonly common_tls_context: object };
};
type Address = { readonly socket_address: { readonly address: string; readonly port_value: number } };
type Envoy = {
  readonly static_resources: {
    readonly listeners: readonly {
      readonly address: Address;
      readonly filter_chains: readonly { readonly transport_socket?: Socket }[];
    }[];
    readonly clusters: readonly { readonly name: string; readonly transport_socket?: Socket }[];
  };
};

function read(name: string): { readonly text: string; readonly envoy: Envoy["static_resources"] } {
  const text = readFileSync(join(folder, name), "utf8");
  return { text, envoy: (parseYaml(name, text) as Envoy).static_resources };
}
function isTls(socket: Socket | undefined, context: "Upstream" | "Downstream"): boolean {
  return (
    socket?.name === "envoy.transport_sockets.tls" &&
    socket.typed_config["@type"].endsWith(`.tls.v3.${context}TlsContext`)
  );
}

for (const name of ["envoy-outer.yaml", "envoy-inner.yaml"]) {
  test(`${name}: every cluster is spoken to over TLS, and verified by a CA and a name`, () => {
    const { clusters } = read(name).envoy;
    assert.ok(clusters.length > 0);
    for (const { name: cluster, transport_socket: socket } of clusters) {
      assert.ok(isTls(socket, "Upstream"), cluster);
      const { common_tls_context: context } = socket?.typed_config ?? {};
      const { validation_context: validation } = context as {
        validation_context: { trusted_ca?: object; match_typed_subject_alt_names?: readonly object[] };
      };
      assert.ok(validation.trusted_ca !== undefined && validation.match_typed_subject_alt_names?.length === 1, cluster);
    }
  });

  test(`${name}: what a listener takes from the network is TLS; in the clear it listens on the loopback interface alone`, () => {
    const { listeners } = read(name).envoy;
    assert.ok(listeners.length > 0);
    for (const { address, filter_chains: chains } of listeners)
      for (const { transport_socket: socket } of chains)
        assert.ok(isTls(socket, "Downstream") || address.socket_address.address === "127.0.0.1");
  });
}

test("the token's placeholder is the same in both, and one with which Envoy does not start", () => {
  const [outer, inner] = ["envoy-outer.yaml", "envoy-inner.yaml"].map((name) => read(name).text);
  // In the value of a header, percent signs stand around a command that Envoy must know.
  assert.match(outer ?? "", /key: x-claviger-proxy-token, value: "%REPLACE_WITH_64_RANDOM_CHARACTERS%"/);
  assert.match(inner ?? "", /x-claviger-proxy-token, string_match: \{ exact: "%REPLACE_WITH_64_RANDOM_CHARACTERS%" \}/);
});
