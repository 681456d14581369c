variable "clusters" {
  description = "The records of the registry that these gateways serve, as it has them: yamldecode(file(\"clusters.yaml\")).clusters."
  type = list(object({
    name     = string
    rotation = optional(string, "auto")
    keys = list(object({
      backend   = string
      namespace = optional(string)
      mount     = string
      key       = string
    }))
    previousKeys = optional(list(object({
      backend   = string
      namespace = optional(string)
      mount     = string
      key       = string
    })), [])
  }))

  validation {
    condition     = alltrue(flatten([for cluster in var.clusters : [for key in concat(cluster.keys, cluster.previousKeys) : key.namespace == null]]))
    error_message = "A key names a namespace of its own: this module knows that of the provider alone. Use `claviger vault init --print-hcl`."
  }
}

variable "backend" {
  description = "The name of this Vault among the backends of gateway.yaml."
  type        = string
}

variable "registry" {
  description = "Where the registry lies in this Vault (KV version 2), as in gateway.yaml; null: it is elsewhere."
  type        = object({ mount = string, path = optional(string, "registry") })
  default     = null
}

variable "integrity" {
  description = "The Transit key of `integrity` in gateway.yaml; null: there is none in this Vault."
  type        = object({ mount = string, key = string })
  default     = null
}

variable "auto_rotate_period" {
  description = "Seconds after which Vault rotates each key by itself; 0: never."
  type        = number
  default     = 0
}

variable "auth" {
  description = "How gateways and fleet service log in, as `auth` in their configuration: approle, kubernetes, jwt or cert, and where that is mounted (its own name where it is null)."
  type        = object({ kind = string, mount = optional(string) })

  validation {
    condition     = contains(["approle", "kubernetes", "jwt", "cert"], var.auth.kind)
    error_message = "auth.kind must be approle, kubernetes, jwt or cert."
  }
}

variable "gateway" {
  description = "The gateways' policy and role, and who may have it: a ServiceAccount (kubernetes), a subject (jwt), or the names of client certificates (cert)."
  type = object({
    policy           = optional(string, "claviger-gateway")
    role             = optional(string, "claviger-gateway")
    service_account  = optional(string, "claviger-gateway")
    namespace        = optional(string, "claviger-gateway")
    bound_subject    = optional(string)
    allowed_dns_sans = optional(list(string))
    allowed_uri_sans = optional(list(string))
  })
  default = {}

  validation {
    condition     = var.auth.kind != "jwt" || var.gateway.bound_subject != null
    error_message = "Without gateway.bound_subject every token of that issuer would be a gateway."
  }
  validation {
    condition     = var.auth.kind != "cert" || var.gateway.allowed_dns_sans != null || var.gateway.allowed_uri_sans != null
    error_message = "Without gateway.allowed_dns_sans or allowed_uri_sans every certificate of that CA would be a gateway, those of nodes included."
  }
}

variable "fleet" {
  description = "The fleet service, as fleet.yaml has it: where it keeps tokens and approvals (KV version 2), where it has nodes' certificates signed, and whether it retires key versions; null: there is none."
  type = object({
    trust_domain     = string
    tokens           = optional(object({ mount = string, path = optional(string, "node-tokens") }))
    approvals        = optional(object({ mount = string, path = optional(string, "approvals") }))
    pki              = optional(object({ mount = string, role = string, lifetime = optional(number, 86400) }))
    retire           = optional(bool, false)
    policy           = optional(string, "claviger-fleet")
    role             = optional(string, "claviger-fleet")
    service_account  = optional(string, "claviger-fleet")
    namespace        = optional(string, "claviger-fleet")
    bound_subject    = optional(string)
    allowed_dns_sans = optional(list(string))
    allowed_uri_sans = optional(list(string))
  })
  default = null
}

variable "token_ttl" {
  description = "Of the tokens of a login, seconds."
  type        = number
  default     = 3600
}

variable "token_max_ttl" {
  description = "Of the tokens of a login, seconds."
  type        = number
  default     = 86400
}

variable "secret_id_ttl" {
  description = "approle: how long a secret-id lives, seconds; 0: without end."
  type        = number
  default     = 0
}

variable "secret_id_cidrs" {
  description = "approle: where secret-ids and tokens may come from; null: from anywhere."
  type        = list(string)
  default     = null
}

variable "audience" {
  description = "kubernetes, jwt: the audience of the token; null: none is asked for."
  type        = string
  default     = null

  validation {
    condition     = var.auth.kind != "jwt" || var.audience != null
    error_message = "A login by jwt needs an audience: without one, tokens that were made for others count."
  }
}

variable "client_ca" {
  description = "cert: the CA of the client certificates, PEM."
  type        = string
  default     = null

  validation {
    condition     = var.auth.kind != "cert" || var.client_ca != null
    error_message = "A login by cert needs the CA of the client certificates."
  }
}
