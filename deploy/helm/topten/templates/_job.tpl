{{- /*
A pod that runs one command of the image; takes (dict "root" $ "name" n "command" […] "stores" […] "keys" […]
"environment" bool). With the key client-operator it gets the addresses of this system as well.
*/}}
{{- define "topten.commandPod" -}}
{{- $root := .root }}{{ $fullname := include "topten.fullname" $root }}
{{- include "topten.podBasics" $root }}
# It has nothing to finish: a Job that is cut begins again.
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
      {{- /* By value: before an install there is no ConfigMap to read them from. */}}
      {{- range $name, $value := $root.Values.settings }}
      - {name: {{ $name }}, value: {{ $value | quote }}}
      {{- end }}
      {{- end }}
      {{- if .keys }}
      - {name: TOPTEN_LOCAL_ENDPOINTS, value: /etc/topten/endpoints.json}
      {{- end }}
    {{- end }}
    resources:
      requests: {cpu: 50m, memory: 128Mi}
      limits: {cpu: "1", memory: 256Mi}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
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
