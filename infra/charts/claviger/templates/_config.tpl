{{/* The programs' configuration: what the chart knows (ports, and where it mounts files), and over it what values.yaml
     says. No default of a program stands here. */}}

{{/* Of one component, as YAML. Takes root and component. */}}
{{- define "claviger.config" -}}
{{- $values := index .root.Values .component -}}
{{- $ports := dict "gateway" (list 8443 9443) "fleet" (list 8444 9444) | dig .component list -}}
{{- $base := dict
  "listen" (dict "address" "0.0.0.0" "port" (index $ports 0))
  "admin" (dict "address" "0.0.0.0" "port" (index $ports 1))
  "tls" (dict "cert" "/etc/claviger/tls/tls.crt" "key" "/etc/claviger/tls/tls.key" "clientCa" "/etc/claviger/tls/ca.crt")
-}}
{{- if and (eq .component "gateway") (not (hasKey $values.config "registry")) -}}
{{- $_ := set $base "registry" (dict "kind" "file" "file" "/etc/claviger/registry/clusters.yaml") -}}
{{- end -}}
{{- if eq .component "fleet" -}}
{{- $_ := set $base "certificates" (dict "trustBundle" (printf "/etc/claviger/trust/%s" $values.trustBundle.key)) -}}
{{- end -}}
{{- toYaml (mergeOverwrite $base (deepCopy $values.config)) -}}
{{- end -}}

{{/* Every absolute path in a configuration, one a line. */}}
{{- define "claviger.files" -}}
{{- if kindIs "map" . -}}
{{- range . -}}{{ include "claviger.files" . }}{{- end -}}
{{- else if kindIs "slice" . -}}
{{- range . -}}{{ include "claviger.files" . }}{{- end -}}
{{- else if and (kindIs "string" .) (hasPrefix "/" .) -}}
{{ printf "%s\n" . }}
{{- end -}}
{{- end -}}

{{/* Does the gateway read its registry from a ConfigMap? "true" or nothing. */}}
{{- define "claviger.registryFile" -}}
{{- if not (hasKey .Values.gateway.config "registry") -}}true{{- end -}}
{{- end -}}

{{- define "claviger.registryName" -}}
{{- .Values.gateway.registry.existingConfigMap | default (printf "%s-registry" (include "claviger.name" (dict "root" . "component" "gateway"))) -}}
{{- end -}}

{{/* The Secret with tls.crt and tls.key. Takes root and component. */}}
{{- define "claviger.tlsSecret" -}}
{{- $tls := (index .root.Values .component).tls -}}
{{- $tls.existingSecret | default (printf "%s-tls" (include "claviger.name" .)) -}}
{{- end -}}
