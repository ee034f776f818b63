{{/* Security of a pod of ours, within the Pod Security Standard `restricted`. */}}
{{- define "modelwright.podSecurityContext" -}}
runAsNonRoot: true
{{- if ne .Values.platform "OpenShift" }}
runAsUser: 65532
runAsGroup: 65532
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Security of a container of ours. */}}
{{- define "modelwright.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where pods of ours run, and with which credentials their image is pulled. */}}
{{- define "modelwright.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The operator's settings. What is empty is left out, so that the operator's own default holds. */}}
{{- define "modelwright.operator.env" -}}
- name: MODELWRIGHT_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: MODELWRIGHT_POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: MODELWRIGHT_LEASE_NAME
  value: {{ include "modelwright.operator.name" . }}
- name: MODELWRIGHT_ADMIN_LISTEN
  value: ":9090"
{{- if .Values.externalScaler.enabled }}
- name: MODELWRIGHT_SCALER_LISTEN
  value: ":9092"
{{- end }}
{{- with .Values.watchNamespaces }}
- name: MODELWRIGHT_WATCH_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
- name: MODELWRIGHT_IMAGE_CPU
  value: {{ include "modelwright.image" . }}
{{- if .Values.cudaImage.repository }}
- name: MODELWRIGHT_IMAGE_CUDA
  value: {{ include "modelwright.imageReference" (dict "image" .Values.cudaImage "tag" (printf "%s-cuda" (default .Chart.AppVersion .Values.image.tag))) }}
{{- end }}
- name: MODELWRIGHT_IMAGE_PULL_POLICY
  value: {{ .Values.image.pullPolicy }}
{{- with .Values.imagePullSecrets }}
{{- $names := list }}
{{- range . }}{{ $names = append $names .name }}{{ end }}
- name: MODELWRIGHT_IMAGE_PULL_SECRETS
  value: {{ join "," $names | quote }}
{{- end }}
- name: MODELWRIGHT_IMAGE_ROLLOUT
  value: {{ .Values.models.imageRollout }}
- name: MODELWRIGHT_PRIVATE_ADDRESSES
  value: {{ .Values.models.privateAddresses }}
- name: MODELWRIGHT_PLATFORM
  value: {{ .Values.platform }}
- name: MODELWRIGHT_CONCURRENCY
  value: {{ .Values.operator.concurrency | quote }}
- name: MODELWRIGHT_LOG
  value: {{ .Values.operator.log.filter | quote }}
{{- end -}}

{{/* Refuses variables in extraEnv that have a value of their own: which of two would hold is not for users to guess. */}}
{{- define "modelwright.checkExtraEnv" -}}
{{- $set := dict -}}
{{- range include "modelwright.operator.env" . | fromYamlArray }}{{ $_ := set $set .name true }}{{ end -}}
{{- range .Values.operator.extraEnv -}}
{{- if hasKey $set .name -}}
{{- fail (printf "operator.extraEnv sets %s, which the chart sets already: use the value that is meant for it" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
