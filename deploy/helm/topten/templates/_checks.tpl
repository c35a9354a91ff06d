{{- /* What contradicts itself is refused with a sentence that says what to change. */}}
{{- define "topten.checks" -}}
{{- $root := . }}
{{- range $name, $store := .Values.stores }}
{{- $named := or $store.url $store.existingSecret }}
{{- if and $store.trial $named }}
{{- fail (printf "stores.%s: trial is true and a server is named as well; set stores.%s.trial=false to use yours" $name $name) }}
{{- else if not (or $store.trial $named) }}
{{- fail (printf "stores.%s: name a server by url or existingSecret, or set trial to true" $name) }}
{{- else if and $store.url $store.existingSecret }}
{{- fail (printf "stores.%s: both url and existingSecret are given; one of them is enough" $name) }}
{{- end }}
{{- end }}
{{- range $name, $is := include "topten.topology" . | fromYaml }}
{{- $values := include "topten.component" (list $root $name) | fromYaml }}
{{- $given := include "topten.env" (list $root $name $is $values) | fromYamlArray }}
{{- $names := list }}
{{- range $given }}{{ $names = append $names .name }}{{ end }}
{{- range keys $root.Values.settings }}
{{- if or (has . $names) (has (printf "%s_FILE" .) $names) }}
{{- fail (printf "settings.%s: the chart sets this one itself" .) }}
{{- end }}
{{- end }}
{{- range $values.extraEnv }}
{{- if or (has .name $names) (has (printf "%s_FILE" .name) $names) (hasKey $root.Values.settings .name) }}
{{- fail (printf "components.%s.extraEnv: %s is set already" $name .name) }}
{{- end }}
{{- end }}
{{- if $values.autoscaling.enabled }}
{{- if gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas) }}
{{- fail (printf "components.%s.autoscaling: minReplicas is above maxReplicas" $name) }}
{{- end }}
{{- if and (eq $name "score") $root.Values.keda.enabled }}
{{- fail "keda.enabled and components.score.autoscaling.enabled: two would scale the same pods; switch one off" }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.keda.enabled (not .Values.stores.nats.trial) (not .Values.keda.natsMonitoringEndpoint) }}
{{- fail "keda.natsMonitoringEndpoint: KEDA asks the monitoring port of your NATS servers; name it as host:8222" }}
{{- end }}
{{- if and .Values.keda.enabled (gt (int .Values.keda.minReplicas) (int .Values.keda.maxReplicas)) }}
{{- fail "keda: minReplicas is above maxReplicas" }}
{{- end }}
{{- if and .Values.setup.hook (include "topten.trial" .) }}
{{- fail "setup.hook: before an install there are no trial stores yet; set setup.hook=false or name stores of your own" }}
{{- end }}
{{- if and .Values.setup.hook (or .Values.stores.mongo.url .Values.stores.nats.url) }}
{{- fail "setup.hook: a hook runs before this chart's Secrets are there; give the stores by existingSecret" }}
{{- end }}
{{- if and .Values.gateway.enabled (not .Values.gateway.parentRefs) }}
{{- fail "gateway.parentRefs: name the Gateway that the routes belong to" }}
{{- end }}
{{- if and .Values.gateway.grpc.enabled (not .Values.gateway.enabled) }}
{{- fail "gateway.grpc.enabled: needs gateway.enabled" }}
{{- end }}
{{- if and .Values.gateway.enabled .Values.ingress.enabled }}
{{- fail "gateway.enabled and ingress.enabled: one way in is enough; switch one off" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail "ingress.host: name the host under which players find Topten" }}
{{- end }}
{{- end }}
