# Written by infra/tofu/generate.ts from what `claviger vault init` makes.
locals {
  gateway_policy = join("\n", concat(
    [
      "# Written by 'claviger vault init'; changes by hand are overwritten.",
      "# The gateway's own token.",
      "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }",
      "path \"auth/token/renew-self\" { capabilities = [\"update\"] }",
      "path \"auth/token/revoke-self\" { capabilities = [\"update\"] }",
    ],
    flatten([
      for key in local.keys : {
        integrity = [
          "",
          "# what gateways tell each other through Redis",
          "path \"${key.mount}/hmac/${key.name}/sha2-256\" { capabilities = [\"update\"] }",
        ]
        auto = [
          "",
          "# ${join(", ", key.clusters)}",
          "path \"${key.mount}/encrypt/${key.name}\" { capabilities = [\"update\"] }",
          "path \"${key.mount}/decrypt/${key.name}\" { capabilities = [\"update\"] }",
          "path \"${key.mount}/keys/${key.name}\" { capabilities = [\"read\"] }",
          "# promotes a new version; nothing else of the key's configuration can be changed",
          "path \"${key.mount}/keys/${key.name}/config\" {",
          "  capabilities = [\"update\"]",
          "  allowed_parameters = { \"min_encryption_version\" = [] }",
          "}",
          "# a key that came back older from a backup is rotated before it encrypts again",
          "path \"${key.mount}/keys/${key.name}/rotate\" { capabilities = [\"update\"] }",
        ]
        manual = [
          "",
          "# ${join(", ", key.clusters)}",
          "path \"${key.mount}/encrypt/${key.name}\" { capabilities = [\"update\"] }",
          "path \"${key.mount}/decrypt/${key.name}\" { capabilities = [\"update\"] }",
          "path \"${key.mount}/keys/${key.name}\" { capabilities = [\"read\"] }",
        ]
        previous = [
          "",
          "# ${join(", ", key.clusters)}",
          "path \"${key.mount}/decrypt/${key.name}\" { capabilities = [\"update\"] }",
          "path \"${key.mount}/keys/${key.name}\" { capabilities = [\"read\"] }",
        ]
      }[key.use == "integrity" ? "integrity" : key.auto ? "auto" : key.encrypts ? "manual" : "previous"]
    ]),
    var.registry == null ? tolist([]) : tolist([
      "",
      "# the registry: read, never written; the first one is that of 0.1.0",
      "path \"${var.registry.mount}/data/${var.registry.path}\" { capabilities = [\"read\"] }",
      "path \"${var.registry.mount}/data/${var.registry.path}/*\" { capabilities = [\"read\"] }",
      "path \"${var.registry.mount}/metadata/${var.registry.path}/clusters/\" { capabilities = [\"list\"] }",
      "# ciphertexts that show whether earlier key versions decrypt",
      "path \"${var.registry.mount}/data/${var.registry.path}-canary/*\" { capabilities = [\"create\", \"read\", \"update\"] }",
    ]),
    [""],
  ))

  fleet_policy = var.fleet == null ? null : join("\n", concat(
    [
      "# Written by 'claviger vault init'; changes by hand are overwritten.",
      "# The fleet service's own token.",
      "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }",
      "path \"auth/token/renew-self\" { capabilities = [\"update\"] }",
      "path \"auth/token/revoke-self\" { capabilities = [\"update\"] }",
    ],
    var.registry == null ? tolist([]) : tolist([
      "",
      "# the registry: written, never deleted; the first one is that of 0.1.0",
      "path \"${var.registry.mount}/data/${var.registry.path}\" { capabilities = [\"create\", \"read\", \"update\"] }",
      "path \"${var.registry.mount}/data/${var.registry.path}/*\" { capabilities = [\"create\", \"read\", \"update\"] }",
      "path \"${var.registry.mount}/metadata/${var.registry.path}/clusters/\" { capabilities = [\"list\"] }",
    ]),
    var.fleet.tokens == null ? tolist([]) : tolist([
      "",
      "# tokens of nodes, as hashes",
      "path \"${var.fleet.tokens.mount}/data/${var.fleet.tokens.path}/*\" { capabilities = [\"create\", \"read\", \"update\"] }",
    ]),
    var.fleet.approvals == null ? tolist([]) : tolist([
      "",
      "# changes that wait for a second administrator, and are deleted when they are old",
      "path \"${var.fleet.approvals.mount}/data/${var.fleet.approvals.path}/*\" { capabilities = [\"create\", \"read\", \"update\"] }",
      "path \"${var.fleet.approvals.mount}/metadata/${var.fleet.approvals.path}/+\" { capabilities = [\"delete\"] }",
      "path \"${var.fleet.approvals.mount}/metadata/${var.fleet.approvals.path}/\" { capabilities = [\"list\"] }",
    ]),
    var.fleet.pki == null ? tolist([]) : tolist([
      "",
      "# certificates of nodes",
      "path \"${var.fleet.pki.mount}/sign/${var.fleet.pki.role}\" { capabilities = [\"update\"] }",
    ]),
    flatten([
      for key in local.keys : {
        retires = [
          "",
          "# rotates and promotes: ${join(", ", key.clusters)}",
          "path \"${key.mount}/keys/${key.name}\" { capabilities = [\"read\"] }",
          "path \"${key.mount}/keys/${key.name}/rotate\" { capabilities = [\"update\"] }",
          "path \"${key.mount}/keys/${key.name}/config\" {",
          "  capabilities = [\"update\"]",
          "  allowed_parameters = { \"min_encryption_version\" = [], \"min_decryption_version\" = [] }",
          "}",
        ]
        keeps = [
          "",
          "# rotates and promotes: ${join(", ", key.clusters)}",
          "path \"${key.mount}/keys/${key.name}\" { capabilities = [\"read\"] }",
          "path \"${key.mount}/keys/${key.name}/rotate\" { capabilities = [\"update\"] }",
          "path \"${key.mount}/keys/${key.name}/config\" {",
          "  capabilities = [\"update\"]",
          "  allowed_parameters = { \"min_encryption_version\" = [] }",
          "}",
        ]
      }[var.fleet.retire ? "retires" : "keeps"] if key.encrypts
    ]),
    flatten([
      for key in local.keys : [
        "",
        "# what gateways tell through Redis",
        "path \"${key.mount}/hmac/${key.name}/sha2-256\" { capabilities = [\"update\"] }",
      ] if key.use == "integrity"
    ]),
    [""],
  ))
}
