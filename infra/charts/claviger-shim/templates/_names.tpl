{{/* Names, labels, images and the shim's configuration. */}}

{{- define "claviger-shim.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What pods are found by. Takes root and component. */}}
{{- define "claviger-shim.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "claviger-shim.labels" -}}
{{ include "claviger-shim.selector" . }}
app.kubernetes.io/part-of: claviger
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "claviger-shim.metadata" -}}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "claviger-shim.labels" . | nindent 2 }}
  {{- with .more }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* An apiserver needs these: Helm leaves them where they are when the release goes. */}}
{{- define "claviger-shim.kept" -}}
{{- if and (eq .Values.mode "daemonset") .Values.keepOnUninstall }}{"helm.sh/resource-policy":"keep"}{{ else }}{}{{ end -}}
{{- end -}}

{{- define "claviger-shim.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "claviger-shim.socketDir" -}}
{{- dir .Values.config.socket.path -}}
{{- end -}}
