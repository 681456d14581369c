resource "vault_mount" "transit" {
  for_each = toset([for key in local.keys : key.mount])
  path     = each.value
  type     = "transit"
}

resource "vault_transit_secret_backend_key" "key" {
  for_each               = { for key in local.keys : "${key.mount}/${key.name}" => key }
  backend                = vault_mount.transit[each.value.mount].path
  name                   = each.value.name
  type                   = "aes256-gcm96"
  exportable             = false
  allow_plaintext_backup = false
  auto_rotate_period     = var.auto_rotate_period

  lifecycle {
    # What is encrypted under a key is lost with it.
    prevent_destroy = true
    # Gateways promote and operators retire: an apply must not revert either, and the provider writes its default where nothing stands.
    ignore_changes = [min_encryption_version, min_decryption_version]
  }
}

resource "vault_mount" "kv" {
  for_each = local.kv_mounts
  path     = each.value
  type     = "kv-v2"
}

resource "vault_policy" "gateway" {
  name   = var.gateway.policy
  policy = local.gateway_policy
}

resource "vault_policy" "fleet" {
  count  = var.fleet == null ? 0 : 1
  name   = var.fleet.policy
  policy = local.fleet_policy
}

# Its own configuration (the API server of kubernetes, the keys of jwt) differs from site to site and is left to the site.
resource "vault_auth_backend" "login" {
  type = var.auth.kind
  path = local.mount
}
