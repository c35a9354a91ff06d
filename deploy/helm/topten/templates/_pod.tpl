{{- define "topten.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "topten.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* What every pod of the chart says about itself; takes $. */}}
{{- define "topten.podBasics" -}}
automountServiceAccountToken: false
# Kubernetes would inject TOPTEN_EDGE_PORT=tcp://… and the like, which no process knows.
enableServiceLinks: false
securityContext:
  {{- include "topten.podSecurity" . | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The files of mutual TLS, by the names of their settings; nothing where it is off. */}}
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

{{- /* The environment that the chart makes for a process; takes (list $ "name" what-it-is values). */}}
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
{{- /* Identity has the keys itself, and signs its own token. */}}
{{- if and $is.calls (ne $name "identity") }}
- name: TOPTEN_AUTH_JWKS_URL
  value: http://{{ $fullname }}-identity:{{ $topology.identity.ports.ops }}/.well-known/jwks.json
- name: TOPTEN_AUTH_TOKEN_URL
  value: http://{{ $fullname }}-identity:{{ $topology.identity.ports.ops }}/oauth/token
# A volume of the pod, which a restart of the container leaves as it is.
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

{{- /* The files under /run/topten: of each Secret only what this process reads; takes (list $ stores keys). */}}
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

{{- /* Rolls the pods when what they read at their start changes. Generated secrets never do. */}}
{{- define "topten.checksums" -}}
checksum/settings: {{ toYaml .Values.settings | sha256sum }}
checksum/stores: {{ toYaml .Values.stores | sha256sum }}
{{- end }}
