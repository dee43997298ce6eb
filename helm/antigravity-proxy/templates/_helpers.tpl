{{/* Names. */}}
{{- define "antigravity-proxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for the longest suffix, "-console". */}}
{{- define "antigravity-proxy.fullname" -}}
{{- $name := include "antigravity-proxy.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "antigravity-proxy.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "antigravity-proxy.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What never changes; `component` is added where an object selects pods. */}}
{{- define "antigravity-proxy.selector" -}}
app.kubernetes.io/name: "{{ include "antigravity-proxy.name" . }}"
app.kubernetes.io/instance: "{{ .Release.Name }}"
{{- end -}}

{{- define "antigravity-proxy.labels" -}}
{{- include "antigravity-proxy.labelsWith" (list . dict) -}}
{{- end -}}

{{/*
Labels of an object, of a list of the root and of labels that were given for this object. These win over the chart's, and
the chart's over `commonLabels`: each key is written once.
*/}}
{{- define "antigravity-proxy.labelsWith" -}}
{{- $root := index . 0 -}}
{{- $own := fromYaml (include "antigravity-proxy.ownLabels" $root) -}}
{{- mergeOverwrite (deepCopy (default dict $root.Values.commonLabels)) $own (default dict (index . 1)) | toYaml -}}
{{- end -}}

{{- define "antigravity-proxy.ownLabels" -}}
{{ include "antigravity-proxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: "{{ .Release.Service }}"
helm.sh/chart: "{{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}"
{{- end -}}

{{- define "antigravity-proxy.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" where the state is in Redis, else nothing. */}}
{{- define "antigravity-proxy.shared" -}}
{{- if or .Values.valkey.enabled .Values.redis.url .Values.redis.existingSecret -}}true{{- end -}}
{{- end -}}

{{/* The replicas to begin with; the fewest where an autoscaler decides. */}}
{{- define "antigravity-proxy.replicas" -}}
{{- if .Values.autoscaling.enabled -}}
{{- .Values.autoscaling.minReplicas -}}
{{- else if kindIs "invalid" .Values.replicaCount -}}
{{- ternary 2 1 (eq "true" (include "antigravity-proxy.shared" .)) -}}
{{- else -}}
{{- .Values.replicaCount -}}
{{- end -}}
{{- end -}}

{{/* Drain delay, streams, and 10 s for the last writes. */}}
{{- define "antigravity-proxy.gracePeriod" -}}
{{- with .Values.shutdown -}}
{{- add (divf (addf .drainDelayMs .graceMs) 1000 | ceil) 10 -}}
{{- end -}}
{{- end -}}

{{/* The address that clients use: that of the first published host which is a name and not a wildcard, else nothing. */}}
{{- define "antigravity-proxy.publicBaseUrl" -}}
{{- if .Values.publicBaseUrl -}}
{{- .Values.publicBaseUrl -}}
{{- else -}}
{{- $urls := list -}}
{{- if .Values.ingress.enabled -}}
{{- $urls = append $urls (printf "%s://%s" (ternary "https" "http" .Values.ingress.tls.enabled) .Values.ingress.host) -}}
{{- end -}}
{{- if .Values.httpRoute.enabled -}}
{{- range .Values.httpRoute.hostnames -}}
{{- $urls = append $urls (printf "%s://%s" $.Values.httpRoute.scheme .) -}}
{{- end -}}
{{- end -}}
{{- range $urls -}}
{{- if contains "*" . -}}
{{- $urls = without $urls . -}}
{{- end -}}
{{- end -}}
{{- with $urls -}}{{- first . -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* The preset with the settings over it, and what the chart itself decides. */}}
{{- define "antigravity-proxy.config" -}}
{{- $preset := dict -}}
{{- if eq .Values.preset "team" -}}
{{- $throttle := dict "emergencyMs" 0 "lastResortMs" 0 -}}
{{- $preset = dict "accountSelection" (dict "strategy" "sticky" "throttle" $throttle) "maxConcurrentPerAccount" 4 -}}
{{- end -}}
{{- $own := dict "drainDelayMs" (int64 .Values.shutdown.drainDelayMs) "shutdownGraceMs" (int64 .Values.shutdown.graceMs) -}}
{{- mergeOverwrite $preset (deepCopy .Values.settings) $own | toPrettyJson -}}
{{- end -}}

{{/* Secrets that the release makes: a dict of key → value, kept from what is in the cluster. */}}
{{- define "antigravity-proxy.generated" -}}
{{- $found := (lookup "v1" "Secret" .Release.Namespace (include "antigravity-proxy.fullname" .)) | default dict -}}
{{- $kept := $found.data | default dict -}}
{{- $data := dict -}}
{{- if not .Values.apiKey.existingSecret -}}
{{- $_ := set $data "api-key" (get $kept "api-key" | default (randAlphaNum 40 | b64enc)) -}}
{{- end -}}
{{- if and (not .Values.console.existingSecret) .Values.console.generatePassword -}}
{{- $_ := set $data "webui-password" (get $kept "webui-password" | default (randAlphaNum 24 | b64enc)) -}}
{{- end -}}
{{- if .Values.valkey.enabled -}}
{{- $_ := set $data "valkey-password" (get $kept "valkey-password" | default (randAlphaNum 40 | b64enc)) -}}
{{- end -}}
{{- toJson $data -}}
{{- end -}}

{{/* Where each secret is: a dict of file name → `secret`, `key`. */}}
{{- define "antigravity-proxy.secrets" -}}
{{- $own := include "antigravity-proxy.fullname" . -}}
{{- $files := dict "encryption-keys" (dict "secret" .Values.encryption.existingSecret "key" .Values.encryption.key) -}}
{{- if .Values.apiKey.existingSecret -}}
{{- $_ := set $files "api-key" (dict "secret" .Values.apiKey.existingSecret "key" .Values.apiKey.key) -}}
{{- else -}}
{{- $_ := set $files "api-key" (dict "secret" $own "key" "api-key") -}}
{{- end -}}
{{- if .Values.console.existingSecret -}}
{{- $_ := set $files "webui-password" (dict "secret" .Values.console.existingSecret "key" .Values.console.key) -}}
{{- else if .Values.console.generatePassword -}}
{{- $_ := set $files "webui-password" (dict "secret" $own "key" "webui-password") -}}
{{- end -}}
{{- if .Values.oauth.existingSecret -}}
{{- $_ := set $files "oauth-client-secret" (dict "secret" .Values.oauth.existingSecret "key" .Values.oauth.secretKey) -}}
{{- end -}}
{{- if .Values.valkey.enabled -}}
{{- $_ := set $files "redis-password" (dict "secret" $own "key" "valkey-password") -}}
{{- else if .Values.redis.existingSecret -}}
{{- if .Values.redis.url -}}
{{- $_ := set $files "redis-password" (dict "secret" .Values.redis.existingSecret "key" .Values.redis.passwordKey) -}}
{{- else -}}
{{- $_ := set $files "redis-url" (dict "secret" .Values.redis.existingSecret "key" .Values.redis.urlKey) -}}
{{- end -}}
{{- end -}}
{{- if .Values.tracing.existingSecret -}}
{{- $_ := set $files "otlp-headers" (dict "secret" .Values.tracing.existingSecret "key" .Values.tracing.key) -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{/* The environment of every container that runs the binary; secrets are files. */}}
{{- define "antigravity-proxy.env" -}}
{{- $variables := dict "api-key" "API_KEY_FILE" "webui-password" "WEBUI_PASSWORD_FILE" "encryption-keys" "ENCRYPTION_KEYS_FILE" "oauth-client-secret" "OAUTH_CLIENT_SECRET_FILE" "redis-password" "REDIS_PASSWORD_FILE" "redis-url" "REDIS_URL_FILE" "otlp-headers" "OTEL_EXPORTER_OTLP_HEADERS_FILE" -}}
- name: CONFIG_FILE
  value: /etc/antigravity-proxy/config.json
- name: DATA_DIR
  value: /var/lib/antigravity-proxy/data
- name: HOST
  value: {{ .Values.host | quote }}
- name: PORT
  value: "8080"
- name: METRICS_ADDR
  value: {{ printf "%s:%d" (ternary (printf "[%s]" .Values.host) .Values.host (contains ":" .Values.host)) (int .Values.metrics.port) | quote }}
- name: POOL
  value: {{ .Values.pool | quote }}
- name: LOG_LEVEL
  value: {{ .Values.log.level | quote }}
- name: LOG_FORMAT
  value: {{ .Values.log.format | quote }}
{{- with include "antigravity-proxy.publicBaseUrl" . }}
- name: PUBLIC_BASE_URL
  value: {{ . | quote }}
{{- end }}
{{- if .Values.valkey.enabled }}
- name: REDIS_URL
  value: redis://{{ include "antigravity-proxy.fullname" . }}-valkey:6379/0
{{- else if .Values.redis.url }}
- name: REDIS_URL
  value: {{ .Values.redis.url | quote }}
{{- end }}
{{- if .Values.oauth.existingSecret }}
- name: OAUTH_CLIENT_ID
  valueFrom:
    secretKeyRef:
      name: "{{ .Values.oauth.existingSecret }}"
      key: "{{ .Values.oauth.idKey }}"
{{- end }}
{{- range $file, $_ := fromJson (include "antigravity-proxy.secrets" .) }}
- name: {{ get $variables $file }}
  value: /run/secrets/antigravity-proxy/{{ $file }}
{{- end }}
{{- if or .Values.trustedCa.existingSecret .Values.trustedCa.existingConfigMap }}
- name: SSL_CERT_FILE
  value: /etc/antigravity-proxy-ca/ca.crt
{{- end }}
{{- with .Values.tracing.endpoint }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ $.Values.tracing.ratio | quote }}
- name: OTEL_SERVICE_NAME
  value: "{{ include "antigravity-proxy.fullname" $ }}"
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name={{ $.Release.Namespace }},k8s.pod.name=$(POD_NAME)
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "antigravity-proxy.mounts" -}}
- name: config
  mountPath: /etc/antigravity-proxy
  readOnly: true
- name: secrets
  mountPath: /run/secrets/antigravity-proxy
  readOnly: true
- name: data
  mountPath: /var/lib/antigravity-proxy
{{- if or .Values.trustedCa.existingSecret .Values.trustedCa.existingConfigMap }}
- name: trusted-ca
  mountPath: /etc/antigravity-proxy-ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Volumes but for `data`. */}}
{{- define "antigravity-proxy.volumes" -}}
- name: config
  configMap:
    name: "{{ include "antigravity-proxy.fullname" . }}"
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $file, $from := fromJson (include "antigravity-proxy.secrets" .) }}
      - secret:
          name: "{{ $from.secret }}"
          items:
            - key: "{{ $from.key }}"
              path: {{ $file }}
      {{- end }}
{{- if .Values.trustedCa.existingSecret }}
- name: trusted-ca
  secret:
    secretName: "{{ .Values.trustedCa.existingSecret }}"
    items:
      - key: "{{ .Values.trustedCa.key }}"
        path: ca.crt
{{- else if .Values.trustedCa.existingConfigMap }}
- name: trusted-ca
  configMap:
    name: "{{ .Values.trustedCa.existingConfigMap }}"
    items:
      - key: "{{ .Values.trustedCa.key }}"
        path: ca.crt
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "antigravity-proxy.accountsVolume" -}}
- name: accounts
  secret:
    secretName: "{{ .Values.accounts.existingSecret }}"
    defaultMode: 0440
    items:
      - key: "{{ .Values.accounts.key }}"
        path: accounts.json
{{- end -}}

{{/* The container that imports; the same for the hook and, with an embedded store, before the gateway. */}}
{{- define "antigravity-proxy.importContainer" -}}
- name: import
  image: "{{ include "antigravity-proxy.image" . }}"
  imagePullPolicy: "{{ .Values.image.pullPolicy }}"
  # A bad entry is named in the log; it must not keep the good ones, or the gateway, from starting.
  args: [accounts, import, --once, --allow-refused, /run/accounts/accounts.json]
  env:
    {{- include "antigravity-proxy.env" . | nindent 4 }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  volumeMounts:
    {{- include "antigravity-proxy.mounts" . | nindent 4 }}
    - name: accounts
      mountPath: /run/accounts
      readOnly: true
{{- end -}}

{{/* What all pods of the binary have in common. */}}
{{- define "antigravity-proxy.pod" -}}
serviceAccountName: "{{ include "antigravity-proxy.serviceAccount" . }}"
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: "{{ . }}"
  {{- end }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: "{{ . }}"
{{- end }}
{{- end -}}

{{/*
Annotations that let streams through an ingress, and through the end of a pod: `controller`, `timeout`, `bodySize`,
`gracePeriod`. Nothing is held back in either direction; a request goes to another pod where the first one cannot be
reached, and never once a pod has it, since it cannot be told whether that pod has begun with it. An ALB would close the
streams of a pod that leaves after five minutes, and looks for a port of the nodes, which a ClusterIP has not; a stream may
be silent for 4000 s at most.
*/}}
{{- define "antigravity-proxy.streamAnnotations" -}}
{{- if eq .controller "nginx" -}}
nginx.ingress.kubernetes.io/proxy-buffering: "off"
nginx.ingress.kubernetes.io/proxy-request-buffering: "off"
nginx.ingress.kubernetes.io/proxy-http-version: "1.1"
nginx.ingress.kubernetes.io/proxy-connect-timeout: "5"
nginx.ingress.kubernetes.io/proxy-read-timeout: {{ .timeout | int64 | quote }}
nginx.ingress.kubernetes.io/proxy-send-timeout: {{ .timeout | int64 | quote }}
nginx.ingress.kubernetes.io/proxy-body-size: {{ .bodySize | quote }}
nginx.ingress.kubernetes.io/proxy-next-upstream: error timeout
nginx.ingress.kubernetes.io/proxy-next-upstream-tries: "3"
{{- else if eq .controller "nginx-org" -}}
nginx.org/proxy-buffering: "False"
nginx.org/proxy-connect-timeout: 5s
nginx.org/proxy-read-timeout: {{ .timeout | int64 }}s
nginx.org/proxy-send-timeout: {{ .timeout | int64 }}s
nginx.org/client-max-body-size: {{ .bodySize | quote }}
{{- else if eq .controller "alb" -}}
alb.ingress.kubernetes.io/target-type: ip
alb.ingress.kubernetes.io/load-balancer-attributes: idle_timeout.timeout_seconds={{ min 4000 (int64 .timeout) }}
alb.ingress.kubernetes.io/target-group-attributes: deregistration_delay.timeout_seconds={{ min 3600 (int .gracePeriod) }}
alb.ingress.kubernetes.io/healthcheck-path: /readyz
{{- end -}}
{{- end -}}

{{/*
A block of addresses such as `10.0.0.0/8` or `fc00::/7` as JSON: its `groups` of `width` bits, and its `length`.
*/}}
{{- define "antigravity-proxy.block" -}}
{{- $address := first (splitList "/" .) -}}
{{- $length := last (splitList "/" .) | int -}}
{{- $groups := list -}}
{{- if contains ":" . -}}
{{- $halves := splitList "::" $address -}}
{{- $left := without (splitList ":" (first $halves)) "" -}}
{{- $right := list -}}
{{- if gt (len $halves) 1 -}}
{{- $right = without (splitList ":" (last $halves)) "" -}}
{{- end -}}
{{- range $left -}}{{- $groups = append $groups (int64 (printf "0x%s" .)) -}}{{- end -}}
{{- range until (max 0 (sub (sub 8 (len $left)) (len $right)) | int) -}}{{- $groups = append $groups 0 -}}{{- end -}}
{{- range $right -}}{{- $groups = append $groups (int64 (printf "0x%s" .)) -}}{{- end -}}
{{- toJson (dict "groups" $groups "width" 16 "length" $length) -}}
{{- else -}}
{{- range splitList "." $address -}}{{- $groups = append $groups (int64 .) -}}{{- end -}}
{{- toJson (dict "groups" $groups "width" 8 "length" $length) -}}
{{- end -}}
{{- end -}}

{{/* "true" where the first of two blocks of addresses is a part of the second and smaller, as `except` has to be. */}}
{{- define "antigravity-proxy.within" -}}
{{- $part := fromJson (include "antigravity-proxy.block" (index . 0)) -}}
{{- $whole := fromJson (include "antigravity-proxy.block" (index . 1)) -}}
{{- if and (eq (int $part.width) (int $whole.width)) (gt (int $part.length) (int $whole.length)) -}}
{{- $same := true -}}
{{- $left := int $whole.length -}}
{{- range $place, $group := $whole.groups -}}
{{- /* What of this group is below the prefix does not count. */ -}}
{{- $unit := 1 -}}
{{- range until (max 0 (sub (int $whole.width) (max 0 $left)) | int) -}}{{- $unit = mul $unit 2 -}}{{- end -}}
{{- if ne (div (int64 $group) $unit) (div (int64 (index $part.groups $place)) $unit) -}}{{- $same = false -}}{{- end -}}
{{- $left = sub $left (int $whole.width) -}}
{{- end -}}
{{- if $same -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* The ports in an address such as `redis+cluster://user@a:7000,[::1]:7001/0`, as JSON; `plain` where a host has none. */}}
{{- define "antigravity-proxy.portsOf" -}}
{{- $hosts := regexReplaceAll "[/?].*$" (regexReplaceAll "^[^/]*://" .address "") "" -}}
{{- $ports := list -}}
{{- range splitList "," (last (splitList "@" $hosts)) -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" (regexReplaceAll "^\\[.*\\]" . "")) -}}
{{- $ports = append $ports (int (default $.plain $port)) -}}
{{- end -}}
{{- uniq $ports | toJson -}}
{{- end -}}

{{/* The ports of Redis: those of the values, and those that its address names. */}}
{{- define "antigravity-proxy.redisPorts" -}}
{{- $ports := default list .Values.networkPolicy.redis.ports -}}
{{- with .Values.redis.url -}}
{{- $plain := ternary 26379 6379 (contains "+sentinel:" .) -}}
{{- $ports = concat $ports (fromJsonArray (include "antigravity-proxy.portsOf" (dict "address" . "plain" $plain))) -}}
{{- end -}}
{{- include "antigravity-proxy.ports" $ports -}}
{{- end -}}

{{/* The ports of the collector, likewise. */}}
{{- define "antigravity-proxy.collectorPorts" -}}
{{- $ports := default list .Values.networkPolicy.collector.ports -}}
{{- with .Values.tracing.endpoint -}}
{{- $plain := ternary 443 80 (hasPrefix "https:" .) -}}
{{- $ports = concat $ports (fromJsonArray (include "antigravity-proxy.portsOf" (dict "address" . "plain" $plain))) -}}
{{- end -}}
{{- include "antigravity-proxy.ports" $ports -}}
{{- end -}}

{{/* Ports of a NetworkPolicy's rule. A rule without any would be for all ports: whoever includes this writes none then. */}}
{{- define "antigravity-proxy.ports" -}}
{{- $numbers := list -}}
{{- range . -}}{{- $numbers = append $numbers (int .) -}}{{- end -}}
{{- range uniq $numbers }}
- port: {{ . }}
  protocol: TCP
{{- end -}}
{{- end -}}

{{/* Milliseconds of a duration such as `1m30s`. */}}
{{- define "antigravity-proxy.millis" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" . -1 -}}
{{- $number := regexFind "^[0-9]+" . -}}
{{- $sum = add $sum (mul (int64 $number) (get $units (trimPrefix $number .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/*
Bytes that the Valkey may fill, three fifths of its memory's limit: what it answers with, and what changes while it
rewrites its file, is besides. Nothing where there is no limit.
*/}}
{{- define "antigravity-proxy.valkeyBytes" -}}
{{- $limit := dig "limits" "memory" "" .Values.valkey.resources -}}
{{- with ternary $limit (int64 $limit | toString) (kindIs "string" $limit) -}}
{{- $units := dict "" 1 "k" 1000 "Ki" 1024 "M" 1000000 "Mi" 1048576 "G" 1000000000 "Gi" 1073741824 "T" 1000000000000 "Ti" 1099511627776 -}}
{{- $number := regexFind "^[0-9]+(\\.[0-9]+)?" . -}}
{{- if hasKey $units (trimPrefix $number .) -}}
{{- mulf (float64 $number) (get $units (trimPrefix $number .)) 0.6 | floor | int64 -}}
{{- else -}}
{{- fail (printf "valkey.resources.limits.memory: write %s in M, Mi, G or Gi" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
