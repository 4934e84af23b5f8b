{{- define "sockdiag-exporter.labels" -}}
app.kubernetes.io/part-of: sockdiag-exporter
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The rules and dashboards expect "sockdiag" in the name of the job, which is this label. */}}
{{- define "sockdiag-exporter.selector" -}}
app.kubernetes.io/name: sockdiag-exporter
{{- end }}

{{/* A node has one port of this number: a second release could not run beside the first, so names are fixed. */}}
{{- define "sockdiag-exporter.name" -}}sockdiag-exporter{{- end }}

{{- define "sockdiag-exporter.capabilities" -}}
drop: [ALL]
{{- if .Values.namespaces }}
add: [SYS_ADMIN, SYS_PTRACE, NET_ADMIN]
{{- else if .Values.netAdmin }}
add: [NET_ADMIN]
{{- end }}
{{- end }}

{{/* Kubernetes gives an added capability to root only. */}}
{{- define "sockdiag-exporter.user" -}}
{{- $privileged := or .Values.namespaces .Values.netAdmin -}}
runAsNonRoot: {{ not $privileged }}
runAsUser: {{ ternary 0 65534 $privileged }}
runAsGroup: {{ ternary 0 65534 $privileged }}
{{- end }}
