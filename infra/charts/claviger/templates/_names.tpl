{{/* Names, labels and images. */}}

{{- define "claviger.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of a component's objects. Takes root and component. */}}
{{- define "claviger.name" -}}
{{- printf "%s-%s" (include "claviger.fullname" .root) .component -}}
{{- end -}}

{{/* What a component's pods are found by; never changed, or an upgrade is refused. */}}
{{- define "claviger.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role | default .component }}
{{- end -}}

{{- define "claviger.labels" -}}
{{ include "claviger.selector" . }}
app.kubernetes.io/part-of: claviger
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of an object but for its name: labels, and the annotations of all. */}}
{{- define "claviger.metadata" -}}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "claviger.labels" . | nindent 2 }}
  {{- with .more }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* `repository:tag` or `repository@digest`. Takes image and, for where no tag is given, root. */}}
{{- define "claviger.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}
