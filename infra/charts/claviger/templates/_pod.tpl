{{/* The pod of a component: the same for its Deployment and for the pod of `helm test`, which only adds --check. */}}

{{/* What the program's container mounts, as a list. Takes root and component. */}}
{{- define "claviger.mounts" -}}
{{- $values := index .root.Values .component -}}
# Directories, not single files by subPath: those would never change again.
- { name: config, mountPath: /etc/claviger/config, readOnly: true }
- { name: tls, mountPath: /etc/claviger/tls, readOnly: true }
{{- if and (eq .component "gateway") (include "claviger.registryFile" .root) }}
- { name: registry, mountPath: /etc/claviger/registry, readOnly: true }
{{- end }}
{{- if eq .component "fleet" }}
- { name: trust, mountPath: /etc/claviger/trust, readOnly: true }
{{- end }}
{{- if $values.vault.existingSecret }}
- { name: vault, mountPath: /etc/claviger/vault, readOnly: true }
{{- end }}
{{- if $values.vault.serviceAccountToken.enabled }}
- { name: login, mountPath: /run/claviger-login, readOnly: true }
{{- end }}
{{- if $values.vault.agent.enabled }}
- { name: token, mountPath: /run/vault, readOnly: true }
{{- end }}
{{- with $values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "claviger.volumes" -}}
{{- $values := index .root.Values .component -}}
{{- $name := include "claviger.name" . -}}
- name: config
  configMap: { name: {{ $name }} }
{{- if $values.tls.spire.enabled }}
# In memory: a key that SPIRE gave is never on the node's disk.
- name: tls
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
- name: spiffe-workload-api
  csi: { driver: csi.spiffe.io, readOnly: true }
- name: spiffe-helper
  configMap: { name: {{ $name }}-spiffe-helper }
{{- else }}
# tls.crt, tls.key and ca.crt: the CAs that clients' certificates are checked against.
- name: tls
  projected:
    defaultMode: 288 # 0440
    sources:
      - secret:
          name: {{ include "claviger.tlsSecret" . }}
          items:
            - { key: tls.crt, path: tls.crt }
            - { key: tls.key, path: tls.key }
            {{- if not (or $values.tls.clientCa.configMap $values.tls.clientCa.secret) }}
            - { key: ca.crt, path: ca.crt }
            {{- end }}
      {{- with $values.tls.clientCa.configMap }}
      - configMap: { name: {{ . }}, items: [{ key: {{ $values.tls.clientCa.key }}, path: ca.crt }] }
      {{- end }}
      {{- with $values.tls.clientCa.secret }}
      - secret: { name: {{ . }}, items: [{ key: {{ $values.tls.clientCa.key }}, path: ca.crt }] }
      {{- end }}
{{- end }}
{{- if and (eq .component "gateway") (include "claviger.registryFile" .root) }}
- name: registry
  configMap: { name: {{ include "claviger.registryName" .root }} }
{{- end }}
{{- if eq .component "fleet" }}
- name: trust
  configMap: { name: {{ $values.trustBundle.configMap }} }
{{- end }}
{{- with $values.vault.existingSecret }}
- name: vault
  secret: { secretName: {{ . }}, defaultMode: 288 } # 0440
{{- end }}
{{- if $values.vault.serviceAccountToken.enabled }}
- name: login
  projected:
    defaultMode: 288 # 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: {{ $values.vault.serviceAccountToken.expirationSeconds }}
          {{- with $values.vault.serviceAccountToken.audience }}
          audience: {{ . | quote }}
          {{- end }}
{{- end }}
{{- if $values.vault.agent.enabled }}
- name: vault-agent
  configMap: { name: {{ $name }}-vault-agent }
# In memory: a token is never on the node's disk.
- name: token
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "claviger.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* Sidecars in Kubernetes' sense: started before the program, ended after it. */}}
{{- define "claviger.sidecars" -}}
{{- $values := index .root.Values .component -}}
{{- with $values.vault.agent }}{{ if .enabled }}
- name: vault-agent
  image: {{ include "claviger.image" (dict "image" .image "root" $.root) }}
  restartPolicy: Always
  command: {{ append .command "-config=/etc/vault-agent/agent.hcl" | toJson }}
  securityContext:
    {{- include "claviger.containerSecurity" $ | nindent 4 }}
  resources:
    {{- toYaml .resources | nindent 4 }}
  volumeMounts:
    - { name: vault-agent, mountPath: /etc/vault-agent, readOnly: true }
    - { name: token, mountPath: /run/vault }
    {{- if $values.vault.existingSecret }}
    - { name: vault, mountPath: /etc/claviger/vault, readOnly: true }
    {{- end }}
    {{- if $values.vault.serviceAccountToken.enabled }}
    - { name: login, mountPath: /run/claviger-login, readOnly: true }
    {{- end }}
{{- end }}{{ end }}
{{- with $values.tls.spire }}{{ if .enabled }}
- name: spiffe-helper
  image: {{ include "claviger.image" (dict "image" .image "root" $.root) }}
  restartPolicy: Always
  args: [-config, /etc/spiffe-helper/helper.conf]
  # The program starts once there is a certificate.
  startupProbe:
    httpGet: { path: /ready, port: 8081 }
    periodSeconds: 1
    failureThreshold: 60
  securityContext:
    {{- include "claviger.containerSecurity" $ | nindent 4 }}
  resources:
    {{- toYaml .resources | nindent 4 }}
  volumeMounts:
    - { name: spiffe-workload-api, mountPath: /spiffe-workload-api, readOnly: true }
    - { name: spiffe-helper, mountPath: /etc/spiffe-helper, readOnly: true }
    - { name: tls, mountPath: /etc/claviger/tls }
{{- end }}{{ end }}
{{- end -}}

{{/* The spec of a pod, but for its containers. Takes root and component. */}}
{{- define "claviger.podSpec" -}}
{{- $values := index .root.Values .component -}}
serviceAccountName: {{ $values.serviceAccount.name | default (include "claviger.name" .) }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- with $values.user }}
  runAsUser: {{ . }}
  runAsGroup: {{ . }}
  # So that mounted keys can be 0440 and still be read.
  fsGroup: {{ . }}
  {{- end }}
  seccompProfile: { type: RuntimeDefault }
{{- with include "claviger.sidecars" . | trim }}
initContainers:
  {{- . | nindent 2 }}
{{- end }}
volumes:
  {{- include "claviger.volumes" . | nindent 2 }}
{{- end -}}
