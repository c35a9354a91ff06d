{{- define "topten.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains "topten" .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-topten" .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* The labels of every object. */}}
{{- define "topten.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: topten
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /*
The labels of pods beside their selector; takes (list $ own). Neither the chart's version nor the release's labels: a change of
those alone must not restart a process or a store, nor change a Job.
*/}}
{{- define "topten.podLabels" -}}
app.kubernetes.io/part-of: topten
{{- with index . 1 }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Selector labels of one component; takes (list $ "name"). Must never change, because selectors are immutable. */}}
{{- define "topten.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: topten
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* An image reference; takes (list $ image). A digest takes precedence over a tag. */}}
{{- define "topten.image" -}}
{{- $root := index . 0 }}{{ $image := index . 1 }}
{{- $registry := $image.registry | default $root.Values.global.imageRegistry -}}
{{- with $registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* The Secret with the signing key and the services' passwords. */}}
{{- define "topten.secret" -}}
{{- .Values.secrets.existingSecret | default (printf "%s-secrets" (include "topten.fullname" .)) }}
{{- end }}

{{- /* The Secret and key with the URL of a store, as "secret key"; takes (list $ "mongo"). */}}
{{- define "topten.store" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}{{ $store := index $root.Values.stores $name }}
{{- if $store.existingSecret }}
{{- printf "%s %s" $store.existingSecret $store.existingSecretKey }}
{{- else }}
{{- printf "%s-%s %s-url" (include "topten.fullname" $root) (ternary "trial" "stores" $store.trial) $name }}
{{- end }}
{{- end }}

{{- /* "true" if any store is a trial store. */}}
{{- define "topten.trial" -}}
{{- if or .Values.stores.mongo.trial .Values.stores.redis.trial .Values.stores.nats.trial }}true{{ end }}
{{- end }}
