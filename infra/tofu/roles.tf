# Written by infra/tofu/generate.ts from what `claviger vault init` makes.
resource "vault_approle_auth_backend_role" "role" {
  for_each                = { for name, role in local.roles : name => role if var.auth.kind == "approle" }
  backend                 = vault_auth_backend.login.path
  role_name               = each.value.role
  token_policies          = [each.value.policy]
  token_no_default_policy = true
  token_ttl               = var.token_ttl
  token_max_ttl           = var.token_max_ttl
  token_num_uses          = 0
  bind_secret_id          = true
  secret_id_num_uses      = 0
  secret_id_ttl           = var.secret_id_ttl
  secret_id_bound_cidrs   = var.secret_id_cidrs
  token_bound_cidrs       = var.secret_id_cidrs
}

resource "vault_kubernetes_auth_backend_role" "role" {
  for_each                         = { for name, role in local.roles : name => role if var.auth.kind == "kubernetes" }
  backend                          = vault_auth_backend.login.path
  role_name                        = each.value.role
  token_policies                   = [each.value.policy]
  token_no_default_policy          = true
  token_ttl                        = var.token_ttl
  token_max_ttl                    = var.token_max_ttl
  token_num_uses                   = 0
  bound_service_account_names      = [each.value.service_account]
  bound_service_account_namespaces = [each.value.namespace]
  audience                         = var.audience
}

resource "vault_jwt_auth_backend_role" "role" {
  for_each                = { for name, role in local.roles : name => role if var.auth.kind == "jwt" }
  backend                 = vault_auth_backend.login.path
  role_name               = each.value.role
  token_policies          = [each.value.policy]
  token_no_default_policy = true
  token_ttl               = var.token_ttl
  token_max_ttl           = var.token_max_ttl
  token_num_uses          = 0
  role_type               = "jwt"
  user_claim              = "sub"
  bound_subject           = each.value.bound_subject
  bound_audiences         = [var.audience]
}

resource "vault_cert_auth_backend_role" "role" {
  for_each                = { for name, role in local.roles : name => role if var.auth.kind == "cert" }
  backend                 = vault_auth_backend.login.path
  name                    = each.value.role
  token_policies          = [each.value.policy]
  token_no_default_policy = true
  token_ttl               = var.token_ttl
  token_max_ttl           = var.token_max_ttl
  token_num_uses          = 0
  certificate             = var.client_ca
  allowed_dns_sans        = each.value.allowed_dns_sans
  allowed_uri_sans        = each.value.allowed_uri_sans
}

# Where nodes' certificates are signed. The CA itself is the site's: a root, or one below its own.
resource "vault_mount" "pki" {
  count                 = try(var.fleet.pki, null) == null ? 0 : 1
  path                  = var.fleet.pki.mount
  type                  = "pki"
  max_lease_ttl_seconds = 315360000
}

resource "vault_pki_secret_backend_role" "node" {
  count               = try(var.fleet.pki, null) == null ? 0 : 1
  backend             = vault_mount.pki[0].path
  name                = var.fleet.pki.role
  allow_any_name      = true
  enforce_hostnames   = false
  allow_ip_sans       = false
  allow_localhost     = false
  allowed_uri_sans    = ["spiffe://${var.fleet.trust_domain}/cluster/*"]
  use_csr_common_name = false
  use_csr_sans        = false
  server_flag         = false
  client_flag         = true
  key_type            = "ec"
  key_bits            = 256
  max_ttl             = max(259200, var.fleet.pki.lifetime)
}
