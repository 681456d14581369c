# Vault Agent (or `bao agent`): logs in with the AppRole, renews, logs in again, writes the token. No cache, no listener, no templates.
vault {
  address = "https://vault.example:8200"
  ca_cert = "/etc/claviger/vault/ca.crt"
}
auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "/etc/claviger/vault/role-id"
      secret_id_file_path                 = "/etc/claviger/vault/secret-id"
      remove_secret_id_file_after_reading = false
    }
  }
  sink "file" {
    config = {
      path = "/run/vault/token"
      mode = 0440
    }
  }
}
