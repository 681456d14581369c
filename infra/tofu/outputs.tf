output "gateway_policy" {
  description = "The gateways' policy, as `claviger vault init --print-policy` prints it."
  value       = local.gateway_policy
}

output "fleet_policy" {
  description = "The fleet service's policy, as `claviger vault init --for fleet --print-policy` prints it; null without one."
  value       = local.fleet_policy
}

output "auth" {
  description = "What `auth` of a backend in gateway.yaml needs beside the credential: kind, mount and role."
  value       = { kind = var.auth.kind, mount = local.mount, role = var.gateway.role }
}
