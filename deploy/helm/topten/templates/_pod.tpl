{{- /* The security context of a pod; takes its values. */}}
{{- define "topten.podSecurity" -}}
{{- $own := dict }}
{{- range $key, $value := .podSecurityContext }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $own $key $value }}{{ end }}
{{- end }}
{{- toYaml (mergeOverwrite (dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault")) $own) }}
{{- end }}

{{- define "topten.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* What every pod has: identity, security, DNS and placement; takes (list $ values). */}}
{{- define "topten.podBasics" -}}
{{- $root := index . 0 }}{{ $values := index . 1 -}}
automountServiceAccountToken: false
# Service links would inject variables like TOPTEN_EDGE_PORT=tcp://…, which processes reject as unknown.
enableServiceLinks: false
securityContext:
  {{- include "topten.podSecurity" $values | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $key := list "priorityClassName" "nodeSelector" "tolerations" "affinity" "dnsPolicy" "dnsConfig" }}
{{- with index $values $key }}
{{ toYaml (dict $key .) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The files of mutual TLS by their settings; empty if it is off. */}}
{{- define "topten.tlsFiles" -}}
{{- if .Values.mtls.existingSecret -}}
cert_file: /run/topten-tls/tls.crt
key_file: /run/topten-tls/tls.key
ca_file: /run/topten-tls/ca.crt
{{- end }}
{{- end }}

{{- define "topten.tlsVolume" -}}
{{- with .Values.mtls.existingSecret -}}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "topten.tlsMount" -}}
{{- if .Values.mtls.existingSecret -}}
- {name: tls, mountPath: /run/topten-tls, readOnly: true}
{{- end }}
{{- end }}

{{- /* The environment that the chart sets for a process; takes (list $ "name" topology values). */}}
{{- define "topten.env" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}{{ $is := index . 2 }}{{ $values := index . 3 }}
{{- $fullname := include "topten.fullname" $root }}
{{- $topology := include "topten.topology" $root | fromYaml }}
{{- range $port, $number := $is.ports }}
- name: TOPTEN_{{ upper $name }}_{{ upper $port }}_ADDRESS
  value: "{{ $root.Values.bindAddress }}:{{ $number }}"
{{- end }}
- name: TOPTEN_SHUTDOWN_GRACE
  value: "{{ $values.shutdown.graceSeconds }}s"
- name: TOPTEN_STARTUP_TIMEOUT
  value: "{{ $values.startupSeconds }}s"
{{- range $setting, $file := include "topten.tlsFiles" $root | fromYaml }}
- name: TOPTEN_TLS_{{ upper $setting }}
  value: {{ $file }}
{{- end }}
{{- if $root.Values.tracing.headersSecret }}
- name: TOPTEN_TRACE_HEADERS_FILE
  value: /run/topten/trace-headers
{{- end }}
{{- range $is.stores }}
- name: TOPTEN_{{ upper . }}_URL_FILE
  value: /run/topten/{{ . }}-url
{{- end }}
{{- range $is.calls }}
- name: TOPTEN_UPSTREAM_{{ upper . }}
  value: dns:///{{ $fullname }}-{{ . }}:{{ (index $topology .).ports.grpc }}
{{- end }}
{{- /* Identity has the keys and signs its own token. */}}
{{- if and $is.calls (ne $name "identity") }}
- name: TOPTEN_AUTH_JWKS_URL
  value: http://{{ $fullname }}-identity:{{ $topology.identity.ports.ops }}/.well-known/jwks.json
- name: TOPTEN_AUTH_TOKEN_URL
  value: http://{{ $fullname }}-identity:{{ $topology.identity.ports.ops }}/oauth/token
# A volume of the pod, which survives a restart of the container.
- name: TOPTEN_AUTH_KEYS_FOLDER
  value: /tmp
- name: TOPTEN_AUTH_CLIENT_ID
  value: {{ $name }}
- name: TOPTEN_AUTH_CLIENT_SECRET_FILE
  value: /run/topten/client-{{ $name }}
{{- end }}
{{- if eq $name "identity" }}
- name: TOPTEN_IDENTITY_SIGNING_KEY_FILE
  value: /run/topten/identity-signing-key
- name: TOPTEN_IDENTITY_SERVICE_CLIENTS_FILE
  value: /run/topten/identity-service-clients
{{- end }}
{{- end }}

{{- /* The files under /run/topten, only those that this process reads; takes (list $ stores keys). */}}
{{- define "topten.secretFiles" -}}
{{- $root := index . 0 -}}
projected:
  defaultMode: 0440
  sources:
    {{- range index . 1 }}
    {{- $place := splitList " " (include "topten.store" (list $root .)) }}
    - secret:
        name: {{ index $place 0 }}
        items:
          - {key: {{ index $place 1 }}, path: {{ . }}-url}
    {{- end }}
    {{- with index . 2 }}
    - secret:
        name: {{ include "topten.secret" $root }}
        items:
          {{- range . }}
          - {key: {{ . }}, path: {{ . }}}
          {{- end }}
    {{- end }}
    {{- with $root.Values.tracing.headersSecret }}
    - secret:
        name: {{ . }}
        items:
          - {key: {{ $root.Values.tracing.headersKey }}, path: trace-headers}
    {{- end }}
{{- end }}

{{- /* Restart the pods when the configuration that they read changes. Generated secrets never change. */}}
{{- define "topten.checksums" -}}
checksum/settings: {{ toYaml .Values.settings | sha256sum }}
checksum/stores: {{ toYaml .Values.stores | sha256sum }}
{{- end }}
