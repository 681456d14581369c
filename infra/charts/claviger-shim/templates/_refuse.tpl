{{/* What would leave a control plane without its plugin: all of it at once, each with what to do. */}}

{{/* Where a URL's host can only be found or reached through the cluster that waits for the shim: why. Nothing where it can. */}}
{{- define "claviger-shim.circular" -}}
{{- $host := urlParse . | dig "hostname" "" | trimSuffix "." -}}
{{- if or (hasSuffix ".svc" $host) (hasSuffix ".cluster.local" $host) -}}
cluster DNS and Services come after kube-apiserver, which waits for the shim
{{- else if and (not (contains "." $host)) (not (contains ":" $host)) -}}
a name without a domain is looked up in the cluster's search domains
{{- end -}}
{{- end -}}

{{- define "claviger-shim.refuse" -}}
{{- $values := .Values -}}
{{- $problems := list -}}
{{- if not $values.image.repository -}}
{{- $problems = append $problems "image.repository: is missing; name the image in a registry of your own (infra/README.md says how to build Claviger's: there is no public one)" -}}
{{- end -}}
{{- if eq $values.image.tag "latest" -}}
{{- $problems = append $problems "image.tag: latest says nothing of what runs, and a rollback brings nothing back; name a version, or a digest" -}}
{{- end -}}
{{- if not $values.config.gateways -}}
{{- $problems = append $problems "config.gateways: is missing; name the gateways, https://HOST:PORT" -}}
{{- end -}}
{{- $urls := $values.config.gateways | default list -}}
{{- with $values.config.renewal }}{{- $urls = append $urls .url -}}{{- end -}}
{{- range $url := $urls -}}
{{- with include "claviger-shim.circular" $url | trim -}}
{{- $problems = append $problems (printf "config: %s leads through this cluster: %s; name an address outside of it" $url .) -}}
{{- end -}}
{{- end -}}
{{- $dirs := list $values.hostPaths.config $values.hostPaths.enrolled -}}
{{- range $key, $file := $values.config.tls -}}
{{- if and (kindIs "string" $file) (hasPrefix "/" $file) -}}
{{- if not (or (hasPrefix (printf "%s/" $values.hostPaths.config) $file) (hasPrefix (printf "%s/" $values.hostPaths.enrolled) $file)) -}}
{{- $problems = append $problems (printf "config.tls.%s: %s lies in no directory that the shim has; put it below %s (hostPaths)" $key $file (join " or " $dirs)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if has (dir $values.config.socket.path) (list "/" "/run" "/var/run" "/tmp" "/etc" "/var") -}}
{{- $problems = append $problems (printf "config.socket.path: the shim and kube-apiserver share the whole directory %s; give the socket one of its own, such as /run/claviger" (dir $values.config.socket.path)) -}}
{{- end -}}
{{- if and $values.podMonitor.enabled (hasPrefix "127." ($values.config.health.address | default "127.0.0.1")) -}}
{{- $problems = append $problems "podMonitor: Prometheus does not reach the node's loopback; set config.health.address to one that it reaches (metrics are then open to whoever reaches the node), or leave it out" -}}
{{- end -}}
{{- $other := eq $values.mode "daemonset" | ternary (printf "%s-installer" (include "claviger-shim.fullname" $)) (include "claviger-shim.fullname" $) -}}
{{- if lookup "apps/v1" "DaemonSet" $.Release.Namespace $other -}}
{{- $problems = append $problems (printf "mode: DaemonSet %s is of the other mode. Two forms of the shim cannot have one socket, and changing them at once leaves kube-apiserver without it: take the socket out of every EncryptionConfiguration (docs/bootstrap.md), remove the first form, then install the other" $other) -}}
{{- end -}}
{{- if eq $values.mode "daemonset" -}}
{{- range $values.encrypted -}}
{{- $plain := splitList "." . | first -}}
{{- if or (eq $plain "*") (has $plain (list "pods" "serviceaccounts" "configmaps" "leases" "nodes" "daemonsets" "controllerrevisions" "csinodes" "runtimeclasses" "services" "endpoints" "endpointslices")) -}}
{{- $problems = append $problems (printf "encrypted: with mode daemonset %s may not be encrypted: a node that comes up reads it from kube-apiserver, which reads it through the shim, which that node is to start; encrypt secrets alone, or use mode static-pod" .) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- if and (eq $values.staticPod.state "absent") .Release.IsInstall -}}
{{- $problems = append $problems "staticPod.state: absent is for the upgrade of a release that has installed static pods" -}}
{{- end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\n%s\n" (join "\n" $problems)) -}}
{{- end -}}
{{- end -}}
