{{/* The first part of every object's name; short enough that all endings fit. */}}
{{- define "modelwright.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of the operator's Deployment, of what belongs to it, and of its Lease. */}}
{{- define "modelwright.operator.name" -}}
{{- include "modelwright.fullname" . }}-operator
{{- end -}}

{{/* The name of what `helm test` makes. Not `-check`: the children of the Model `modelwright-check` are called like it. */}}
{{- define "modelwright.test.name" -}}
{{- include "modelwright.fullname" . }}-test
{{- end -}}

{{/* The labels of every object. */}}
{{- define "modelwright.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: modelwright
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* What selects the operator's pods. The component keeps a Model's pods out, whose instance may be called like the release. */}}
{{- define "modelwright.operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* The labels of the operator's objects. */}}
{{- define "modelwright.operator.labels" -}}
{{ include "modelwright.labels" . }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* The full name of an image; takes `image` and `tag`, which holds where the image has none. */}}
{{- define "modelwright.imageReference" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .tag .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The image of the operator and of CPU servers. */}}
{{- define "modelwright.image" -}}
{{- include "modelwright.imageReference" (dict "image" .Values.image "tag" .Chart.AppVersion) -}}
{{- end -}}

{{/* The namespace of the Model that `helm test` makes: one that is watched. */}}
{{- define "modelwright.test.namespace" -}}
{{- $watched := .Values.watchNamespaces -}}
{{- if .Values.test.namespace -}}
{{- if and $watched (not (has .Values.test.namespace $watched)) -}}
{{- fail (printf "test.namespace is %q, which is not in watchNamespaces (%s): a Model there would not be served" .Values.test.namespace (join ", " $watched)) -}}
{{- end -}}
{{- .Values.test.namespace -}}
{{- else if or (not $watched) (has .Release.Namespace $watched) -}}
{{- .Release.Namespace -}}
{{- else -}}
{{- first $watched -}}
{{- end -}}
{{- end -}}
