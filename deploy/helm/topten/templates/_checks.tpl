{{- /* Reject contradictory values with a sentence that says what to change. */}}
{{- define "topten.checks" -}}
{{- $root := . }}
{{- range $name, $store := .Values.stores }}
{{- $named := or $store.url $store.existingSecret }}
{{- if and $store.trial $named }}
{{- fail (printf "stores.%s: trial is true but url or existingSecret is set; set stores.%s.trial=false to use your own server" $name $name) }}
{{- else if not (or $store.trial $named) }}
{{- fail (printf "stores.%s: set url or existingSecret, or set trial to true" $name) }}
{{- else if and $store.url $store.existingSecret }}
{{- fail (printf "stores.%s: url and existingSecret exclude each other; set only one" $name) }}
{{- end }}
{{- end }}
{{- range $name, $is := include "topten.topology" . | fromYaml }}
{{- $values := include "topten.component" (list $root $name) | fromYaml }}
{{- $given := include "topten.env" (list $root $name $is $values) | fromYamlArray }}
{{- $names := list }}
{{- range $given }}{{ $names = append $names .name }}{{ end }}
{{- range keys $root.Values.settings }}
{{- if or (has . $names) (has (printf "%s_FILE" .) $names) }}
{{- fail (printf "settings.%s: the chart sets this variable; remove it" .) }}
{{- end }}
{{- end }}
{{- range $values.extraEnv }}
{{- if or (has .name $names) (has (printf "%s_FILE" .name) $names) (hasKey $root.Values.settings .name) }}
{{- fail (printf "components.%s.extraEnv: %s is already set; remove it" $name .name) }}
{{- end }}
{{- end }}
{{- if and (has (toString $values.rollout.maxSurge) (list "0" "0%")) (has (toString $values.rollout.maxUnavailable) (list "0" "0%")) }}
{{- fail (printf "components.%s.rollout: maxSurge and maxUnavailable are both 0, so no pod could be replaced; raise one" $name) }}
{{- end }}
{{- if $values.autoscaling.enabled }}
{{- if gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas) }}
{{- fail (printf "components.%s.autoscaling: minReplicas must not exceed maxReplicas" $name) }}
{{- end }}
{{- if and (eq $name "score") $root.Values.keda.enabled }}
{{- fail "keda.enabled and components.score.autoscaling.enabled: both would scale the same pods; disable one" }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.keda.enabled (not .Values.stores.nats.trial) (not .Values.keda.natsMonitoringEndpoint) }}
{{- fail "keda.natsMonitoringEndpoint: KEDA needs the monitoring port of your NATS; set it, such as host:8222" }}
{{- end }}
{{- if and .Values.keda.enabled (gt (int .Values.keda.minReplicas) (int .Values.keda.maxReplicas)) }}
{{- fail "keda: minReplicas must not exceed maxReplicas" }}
{{- end }}
{{- if and .Values.setup.hook (include "topten.trial" .) }}
{{- fail "setup.hook: trial stores do not exist before the install; set setup.hook=false or use your own stores" }}
{{- end }}
{{- if and .Values.setup.hook (or .Values.stores.mongo.url .Values.stores.nats.url) }}
{{- fail "setup.hook: a hook runs before this chart's Secrets exist; set the stores by existingSecret" }}
{{- end }}
{{- if and .Values.gateway.enabled (not .Values.gateway.parentRefs) }}
{{- fail "gateway.parentRefs: set the parent Gateway of the routes" }}
{{- end }}
{{- if and .Values.gateway.grpc.enabled (not .Values.gateway.enabled) }}
{{- fail "gateway.grpc.enabled: requires gateway.enabled" }}
{{- end }}
{{- if and .Values.gateway.enabled .Values.ingress.enabled }}
{{- fail "gateway.enabled and ingress.enabled: they exclude each other; disable one" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail "ingress.host: set the public hostname" }}
{{- end }}
{{- end }}
