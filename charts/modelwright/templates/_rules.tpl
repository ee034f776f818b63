{{/*
What the operator may do where it serves Models. Nothing more than it does, and nothing about Secrets: credentials reach pods by
reference, and only their kubelet reads them.
*/}}
{{- define "modelwright.operator.rules" -}}
- apiGroups: [modelwright.dev]
  resources: [models]
  verbs: [list, watch, patch] # patch: the finalizer of deletionPolicy DeleteArtifacts, and nothing else
- apiGroups: [modelwright.dev]
  resources: [models/status]
  verbs: [patch]
# Deployments go with their Model, by their owner reference; they are never deleted.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list]
# Jobs are created once and never changed.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
# Why a Job has no pod is said only in Events of the core group.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
