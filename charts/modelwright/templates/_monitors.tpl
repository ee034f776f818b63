{{/* Refuses a monitor that the cluster has no kind for; takes `kind`, `value` and the root as `root`. */}}
{{- define "modelwright.checkMonitor" -}}
{{- if not (.root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") -}}
{{- fail (printf "%s asks for a %s, but this cluster has no API monitoring.coreos.com/v1: install the Prometheus Operator first, or set %s=false (for `helm template`: --api-versions monitoring.coreos.com/v1)" .value .kind .value) -}}
{{- end -}}
{{- end -}}

{{/* How a monitor scrapes; takes one of the values `…Monitor`. */}}
{{- define "modelwright.endpoint" -}}
- port: admin
  path: /metrics
  {{- with .interval }}
  interval: {{ . }}
  {{- end }}
  {{- with .scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
{{- end -}}
