{{/* The release's full name: the base of every object's name. */}}
{{- define "tune-operator.fullname" -}}
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

{{- define "tune-operator.serviceAccount" -}}
{{- default (include "tune-operator.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "tune-operator.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}

{{- define "tune-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tune-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "tune-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The verbs on nodes: none, get, or all that a watch needs. The operator is told the same. */}}
{{- define "tune-operator.nodeVerbs" -}}
{{- if or (not .Values.watchNamespaces) .Values.nodes.clusterRole -}}
{{- ternary "get, list, watch" "get" .Values.nodes.watch -}}
{{- end -}}
{{- end -}}

{{/* Names of what the operator makes itself; the Role names them, so both sides must agree. */}}
{{- define "tune-operator.caSecret" -}}
{{- printf "%s-ca" (include "tune-operator.fullname" .) -}}
{{- end -}}

{{- define "tune-operator.minio" -}}
{{- printf "%s-minio" (include "tune-operator.fullname" .) -}}
{{- end -}}

{{- define "tune-operator.minioSecret" -}}
{{- default (include "tune-operator.minio" .) .Values.minio.existingSecret -}}
{{- end -}}

{{- define "tune-operator.minioSelectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}-minio
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Restricted Pod Security: of a Pod, and of each container. */}}
{{- define "tune-operator.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "tune-operator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The rules for experiments and their Pods: of the ClusterRole, or of a Role in each watched namespace. */}}
{{- define "tune-operator.experimentRules" -}}
- apiGroups: [tuneoperator.io]
  resources: [tuneexperiments]
  verbs: [get, list, watch, patch]
- apiGroups: [tuneoperator.io]
  resources: [tuneexperiments/status]
  verbs: [update]
- apiGroups: [tuneoperator.io]
  # Owning a Pod with blockOwnerDeletion needs this right.
  resources: [tuneexperiments/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}
