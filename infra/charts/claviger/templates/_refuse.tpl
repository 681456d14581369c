{{/* What would be installed and not work, or work and lose keys: all of it at once, each with what to do. */}}

{{- define "claviger.refuse" -}}
{{- $root := . -}}
{{- $problems := list -}}
{{- if not (or .Values.gateway.enabled .Values.fleet.enabled) -}}
{{- $problems = append $problems "gateway.enabled, fleet.enabled: nothing is to be installed; enable one of them" -}}
{{- end -}}
{{- range $component := list "gateway" "fleet" -}}
{{- $values := index $root.Values $component -}}
{{- if $values.enabled -}}
{{- $at := dict "root" $root "component" $component -}}
{{- $config := include "claviger.config" $at | fromYaml -}}

{{- $images := dict "image" $values.image -}}
{{- if $values.vault.agent.enabled -}}{{- $_ := set $images "vault.agent.image" $values.vault.agent.image -}}{{- end -}}
{{- if $values.tls.spire.enabled -}}{{- $_ := set $images "tls.spire.image" $values.tls.spire.image -}}{{- end -}}
{{- range $key, $image := $images -}}
{{- if not $image.repository -}}
{{- $problems = append $problems (printf "%s.%s.repository: is missing; name the image in a registry of your own (infra/README.md says how to build Claviger's: there is no public one)" $component $key) -}}
{{- end -}}
{{- if and (ne $key "image") (not $image.tag) (not $image.digest) -}}
{{- $problems = append $problems (printf "%s.%s: is missing its tag or digest" $component $key) -}}
{{- end -}}
{{- if eq $image.tag "latest" -}}
{{- $problems = append $problems (printf "%s.%s.tag: latest says nothing of what runs, and a rollback brings nothing back; name a version, or a digest" $component $key) -}}
{{- end -}}
{{- end -}}

{{- $given := 0 -}}
{{- range list (ne $values.tls.existingSecret "") $values.tls.certManager.enabled $values.tls.spire.enabled -}}
{{- if . -}}{{- $given = add1 $given -}}{{- end -}}
{{- end -}}
{{- if ne (int $given) 1 -}}
{{- $problems = append $problems (printf "%s.tls: give one of existingSecret, certManager.enabled and spire.enabled (%d are given)" $component (int $given)) -}}
{{- end -}}
{{- if and $values.tls.certManager.enabled (not $values.tls.certManager.issuerRef.name) -}}
{{- $problems = append $problems (printf "%s.tls.certManager.issuerRef.name: is missing; name the Issuer or ClusterIssuer" $component) -}}
{{- end -}}
{{- if and $values.tls.certManager.enabled (not $values.tls.certManager.dnsNames) (not $values.tls.certManager.ipAddresses) -}}
{{- $problems = append $problems (printf "%s.tls.certManager.dnsNames: is empty; callers verify the names and addresses that they connect to" $component) -}}
{{- end -}}
{{- if and $values.tls.spire.enabled (or $values.tls.clientCa.configMap $values.tls.clientCa.secret) -}}
{{- $problems = append $problems (printf "%s.tls.clientCa: with spire.enabled clients are checked against the bundle of SPIRE; leave it empty, or mount your file with extraVolumes and name it in config.tls.clientCa" $component) -}}
{{- end -}}

{{- if not $config.trustDomain -}}
{{- $problems = append $problems (printf "%s.config.trustDomain: is missing; it is the trust domain of the SPIFFE ids in client certificates" $component) -}}
{{- end -}}
{{- range $listener := list "listen" "admin" -}}
{{- if or (hasPrefix "127." (index $config $listener).address) (eq (index $config $listener).address "::1") -}}
{{- $problems = append $problems (printf "%s.config.%s.address: nothing outside the pod reaches %s; leave it out" $component $listener (index $config $listener).address) -}}
{{- end -}}
{{- end -}}

{{- $replicas := $values.replicas -}}
{{- if $values.autoscaling.enabled -}}{{- $replicas = $values.autoscaling.maxReplicas -}}{{- end -}}
{{- range $name, $backend := $config.backends | default dict -}}
{{- if and (eq $backend.kind "embedded") (gt (int $replicas) 1) -}}
{{- $problems = append $problems (printf "%s.config.backends.%s: a key file cannot be shared by %d replicas, each would make keys of its own; use a Vault, or one replica without autoscaling" $component $name (int $replicas)) -}}
{{- end -}}
{{- end -}}

{{- $dirs := list -}}
{{- range include "claviger.mounts" $at | fromYamlArray -}}{{- $dirs = append $dirs .mountPath -}}{{- end -}}
{{- range include "claviger.files" $config | trim | splitList "\n" | uniq -}}
{{- $file := . -}}
{{- $mounted := eq $file "" -}}
{{- range $dirs -}}
{{- if or (eq $file .) (hasPrefix (printf "%s/" (trimSuffix "/" .)) $file) -}}{{- $mounted = true -}}{{- end -}}
{{- end -}}
{{- if not $mounted -}}
{{- $problems = append $problems (printf "%s.config: %s lies in no volume of the pod; there are %s (vault.existingSecret is /etc/claviger/vault, vault.serviceAccountToken /run/claviger-login, vault.agent /run/vault; else extraVolumes and extraVolumeMounts)" $component $file (join ", " $dirs)) -}}
{{- end -}}
{{- end -}}

{{- if and $values.vault.agent.enabled (not $values.vault.agent.config) -}}
{{- $problems = append $problems (printf "%s.vault.agent.config: is missing; infra/vault-agent/agent.hcl is one" $component) -}}
{{- end -}}
{{- if and $values.serviceMonitor.enabled $values.podMonitor.enabled -}}
{{- $problems = append $problems (printf "%s.serviceMonitor, podMonitor: with both every sample is there twice; enable one" $component) -}}
{{- end -}}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
{{- $problems = append $problems (printf "%s.autoscaling.minReplicas: is more than maxReplicas" $component) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if .Values.gateway.enabled -}}
{{- $registry := .Values.gateway.registry -}}
{{- if and (include "claviger.registryFile" .) (not (kindIs "slice" $registry.clusters)) (not $registry.existingConfigMap) -}}
{{- $problems = append $problems "gateway.registry: say where the registry is: config.registry (kind vault), registry.existingConfigMap, or registry.clusters (an empty list to begin with)" -}}
{{- end -}}
{{- if and $registry.clusters (or $registry.existingConfigMap (not (include "claviger.registryFile" .))) -}}
{{- $problems = append $problems "gateway.registry.clusters: the registry is elsewhere (config.registry or registry.existingConfigMap), so that these records would be read by nobody; leave one of the two out" -}}
{{- end -}}
{{- if and (kindIs "slice" $registry.clusters) (not $registry.existingConfigMap) (include "claviger.registryFile" .) -}}
{{- $there := lookup "v1" "ConfigMap" .Release.Namespace (include "claviger.registryName" .) -}}
{{- $before := dig "data" "clusters.yaml" "" $there | fromYaml -}}
{{- $uids := list -}}
{{- range $registry.clusters -}}{{- $uids = append $uids .uid -}}{{- end -}}
{{- range $before.clusters | default list -}}
{{- if not (or (has .uid $uids) (has .name $registry.removed)) -}}
{{- $problems = append $problems (printf "gateway.registry.clusters: %s (uid %s) is served today and is not in the list: its apiservers could read no Secret. Put it back, with that uid; or name it in registry.removed, if it is gone for good" .name .uid) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not .Values.gateway.servesOtherClustersOnly -}}
{{- range (lookup "apps/v1" "DaemonSet" "" "").items | default list -}}
{{- if eq (dig "metadata" "labels" "app.kubernetes.io/name" "" .) "claviger-shim" -}}
{{- $problems = append $problems (printf "gateway: this cluster's kube-apiservers have shims (DaemonSet %s/%s): gateways that they need could not start here while it is down (docs/bootstrap.md). Install gateways on another cluster, or, if these serve none of this cluster's shims, set gateway.servesOtherClustersOnly" .metadata.namespace .metadata.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and .Values.fleet.enabled (not .Values.fleet.trustBundle.configMap) -}}
{{- $problems = append $problems "fleet.trustBundle.configMap: is missing; name the ConfigMap with the CAs that nodes verify gateways and the fleet service by" -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\n%s\n" (join "\n" $problems)) -}}
{{- end -}}
{{- end -}}
