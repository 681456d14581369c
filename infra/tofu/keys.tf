# Which keys the registry's clusters use in this Vault, in the order of `claviger vault init`: a key that several clusters share is one.
locals {
  references = flatten([
    for cluster in var.clusters : concat(
      [
        for key in cluster.keys : {
          cluster  = cluster.name
          mount    = key.mount
          name     = key.key
          encrypts = true
          auto     = cluster.rotation == "auto"
        } if key.backend == var.backend
      ],
      [
        for key in cluster.previousKeys : {
          cluster  = cluster.name
          mount    = key.mount
          name     = key.key
          encrypts = false
          auto     = false
        } if key.backend == var.backend
      ],
    )
  ])
  data_keys = [
    for path in distinct([for one in local.references : "${one.mount}/${one.name}"]) : {
      mount    = [for one in local.references : one.mount if "${one.mount}/${one.name}" == path][0]
      name     = [for one in local.references : one.name if "${one.mount}/${one.name}" == path][0]
      use      = "data"
      encrypts = anytrue([for one in local.references : one.encrypts if "${one.mount}/${one.name}" == path])
      auto     = anytrue([for one in local.references : one.auto if "${one.mount}/${one.name}" == path])
      clusters = distinct([for one in local.references : one.cluster if "${one.mount}/${one.name}" == path])
    }
  ]
  keys = concat(local.data_keys, [
    for one in var.integrity[*] : {
      mount    = one.mount
      name     = one.key
      use      = "integrity"
      encrypts = false
      auto     = false
      clusters = []
    }
  ])
  # KV version 2: registry, tokens and approvals may share a mount.
  kv_mounts = toset([for one in concat(var.registry[*], var.fleet[*].tokens, var.fleet[*].approvals) : one.mount if one != null])
  mount     = coalesce(var.auth.mount, var.auth.kind)
  roles = merge(
    { gateway = var.gateway },
    { for one in var.fleet[*] : "fleet" => one },
  )
}
