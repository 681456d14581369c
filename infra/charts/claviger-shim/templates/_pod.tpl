{{/* The shim's pod: the same as DaemonSet and as static pod, but for where shim.yaml comes from. */}}

{{/* Takes root, and config: the file of the configuration in the pod. */}}
{{- define "claviger-shim.podSpec" -}}
{{- $values := .root.Values -}}
# Exception from the restricted profile: host network. The cluster network may need the apiserver that needs this pod.
hostNetwork: true
# The node's own resolver: cluster DNS comes after kube-apiserver.
dnsPolicy: Default
priorityClassName: {{ $values.priorityClassName }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 15
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $values.user }}
  # The group of the socket and of its directory.
  runAsGroup: {{ $values.user }}
  seccompProfile: { type: RuntimeDefault }
containers:
  - name: shim
    image: {{ include "claviger-shim.image" (dict "image" $values.image "root" .root) }}
    # Already on the node: a registry, or its pull secret, may lie behind the apiserver that waits for us.
    imagePullPolicy: IfNotPresent
    args: [--config, {{ .config }}]
    ports: [{ name: health, containerPort: {{ $values.config.health.port }} }]
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: { drop: [ALL] }
    resources:
      {{- toYaml $values.resources | nindent 6 }}
    # About the process alone. Never /readyz here: a kubelet that restarts shims in an outage ends no outage.
    livenessProbe:
      # Exception from the restricted profile: a probe's host. Health is bound to an address of the host, by default loopback.
      httpGet: { host: {{ include "claviger-shim.healthHost" .root }}, path: /livez, port: {{ $values.config.health.port }} }
      periodSeconds: 10
      failureThreshold: 3
    readinessProbe:
      httpGet: { host: {{ include "claviger-shim.healthHost" .root }}, path: /readyz, port: {{ $values.config.health.port }} }
      periodSeconds: 10
    volumeMounts:
      {{- include "claviger-shim.mounts" . | nindent 6 }}
volumes:
  {{- include "claviger-shim.volumes" . | nindent 2 }}
{{- end -}}

{{/* Where the node reaches the shim's health: its address, or loopback where that is all addresses. */}}
{{- define "claviger-shim.healthHost" -}}
{{- $address := .Values.config.health.address | default "127.0.0.1" -}}
{{- if or (eq $address "0.0.0.0") (eq $address "::") -}}127.0.0.1{{- else -}}{{ $address }}{{- end -}}
{{- end -}}

{{- define "claviger-shim.mounts" -}}
- { name: socket, mountPath: {{ include "claviger-shim.socketDir" .root }} }
- { name: node, mountPath: {{ .root.Values.hostPaths.config }}, readOnly: true }
- { name: enrolled, mountPath: {{ .root.Values.hostPaths.enrolled }} }
{{- if eq .root.Values.mode "daemonset" }}
- { name: config, mountPath: {{ dir .config }}, readOnly: true }
{{- end }}
{{- end -}}

{{- define "claviger-shim.volumes" -}}
# Exception from the restricted profile: hostPath. kube-apiserver connects through this directory; it mounts the same one.
# `Directory`, not `DirectoryOrCreate`: what makes it gives it the right owner, and a missing one is an error with a name.
- name: socket
  hostPath: { path: {{ include "claviger-shim.socketDir" .root }}, type: Directory }
# Exception from the restricted profile: hostPath. The node's certificate must be readable while there is no API.
- name: node
  hostPath: { path: {{ .root.Values.hostPaths.config }}, type: Directory }
# Exception from the restricted profile: hostPath. Where `claviger-shim enroll` puts the certificate of a node, and the shim replaces it.
- name: enrolled
  hostPath: { path: {{ .root.Values.hostPaths.enrolled }}, type: DirectoryOrCreate }
{{- if eq .root.Values.mode "daemonset" }}
- name: config
  configMap: { name: {{ include "claviger-shim.fullname" .root }} }
{{- end }}
{{- end -}}

{{/* The static pod's manifest, as it lies on each node. */}}
{{- define "claviger-shim.staticPod" -}}
apiVersion: v1
kind: Pod
metadata:
  name: claviger-shim
  namespace: {{ .Values.staticPod.namespace }}
  labels:
    {{- include "claviger-shim.selector" (dict "root" . "component" "kms-plugin") | nindent 4 }}
    app.kubernetes.io/part-of: claviger
    app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A change of the configuration is another pod: kubelet starts it in place of this one.
    checksum/config: {{ toYaml .Values.config | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "claviger-shim.podSpec" (dict "root" . "config" (printf "%s/shim.yaml" .Values.hostPaths.config)) | nindent 2 }}
{{- end -}}
