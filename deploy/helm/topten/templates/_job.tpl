{{- /*
A pod that runs one command of the image; takes (dict "root" $ "name" n "command" […] "stores" […] "keys" […]
"resources" {…} "claim" {"name" "path"}). With the key client-operator it gets the addresses of this system as well; the
volume of a claim is mounted at its path.
*/}}
{{- define "topten.commandPod" -}}
{{- $root := .root }}{{ $fullname := include "topten.fullname" $root }}
{{- include "topten.podBasics" (list $root $root.Values.defaults) }}
# The command is idempotent: an interrupted Job starts again.
terminationGracePeriodSeconds: 5
restartPolicy: {{ .restartPolicy | default "OnFailure" }}
containers:
  - name: {{ .name }}
    image: {{ include "topten.image" (list $root $root.Values.image) | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    command: {{ toJson .command }}
    securityContext:
      {{- include "topten.containerSecurity" $root | nindent 6 }}
    {{- if or .stores .keys }}
    env:
      {{- range .stores }}
      - {name: TOPTEN_{{ upper . }}_URL_FILE, value: /run/topten/{{ . }}-url}
      {{- end }}
      {{- if .stores }}
      {{- /* By value: the ConfigMap does not exist before the install. */}}
      {{- range $name, $value := $root.Values.settings }}
      - {name: {{ $name }}, value: {{ $value | quote }}}
      {{- end }}
      {{- end }}
      {{- if .keys }}
      - {name: TOPTEN_LOCAL_ENDPOINTS, value: /etc/topten/endpoints.json}
      {{- end }}
    {{- end }}
    resources:
      {{- if .resources }}
      {{- toYaml .resources | nindent 6 }}
      {{- else }}
      requests: {cpu: 50m, memory: 128Mi}
      limits: {cpu: "1", memory: 256Mi}
      {{- end }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      {{- with .claim }}
      - {name: claim, mountPath: {{ .path }}}
      {{- end }}
      {{- if or .stores .keys }}
      - {name: secrets, mountPath: /run/topten, readOnly: true}
      {{- end }}
      {{- if .keys }}
      - {name: endpoints, mountPath: /etc/topten, readOnly: true}
      {{- include "topten.tlsMount" $root | nindent 6 }}
      {{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
  {{- with .claim }}
  - name: claim
    persistentVolumeClaim:
      claimName: {{ .name }}
  {{- end }}
  {{- if or .stores .keys }}
  - name: secrets
    {{- include "topten.secretFiles" (list $root .stores .keys) | nindent 4 }}
  {{- end }}
  {{- if .keys }}
  - name: endpoints
    configMap:
      name: {{ $fullname }}-endpoints
  {{- include "topten.tlsVolume" $root | nindent 2 }}
  {{- end }}
{{- end }}
