{{- /*
The processes, their ports, and the services that they call. Environment, Services and NetworkPolicies are all rendered from
this map, so that they cannot disagree.
*/}}
{{- define "topten.topology" -}}
identity:
  module: services.identity
  ports: {grpc: 50051, ops: 9101}
  stores: [mongo, nats]
  calls: [quiz, score]
  service: topten.identity.v1.IdentityService
quiz:
  module: services.quiz
  ports: {grpc: 50052, ops: 9102}
  stores: [mongo, redis, nats]
  calls: [identity, leaderboard]
  service: topten.quiz.v1.QuizService
score:
  module: services.score
  ports: {grpc: 50053, ops: 9103}
  stores: [mongo, redis, nats]
  calls: [identity, quiz, leaderboard]
  service: topten.score.v1.ScoreService
leaderboard:
  module: services.leaderboard
  ports: {grpc: 50054, ops: 9104}
  stores: [mongo, redis]
  calls: [identity]
  service: topten.leaderboard.v1.LeaderboardService
edge:
  module: edge
  ports: {http: 8080, ops: 9105}
  stores: [redis]
  calls: [identity, quiz, score, leaderboard]
{{- end }}

{{- /* The other callers in this release: `http` is the edge's public port, `ops` the internal port of every process. */}}
{{- define "topten.visitors" -}}
setup: {stores: [mongo, nats], calls: []}
samples: {stores: [], calls: [quiz]}
backup: {stores: [mongo], calls: []}
operator: {stores: [], calls: [identity, quiz, score, leaderboard], http: true, ops: true}
check: {stores: [], calls: [], http: true}
{{- end }}

{{- /* Ports of the trial stores. */}}
{{- define "topten.storePorts" -}}
mongo: 27017
redis: 6379
nats: 4222
{{- end }}

{{- /* The values of a component: its own over the defaults; takes (list $ "name"). */}}
{{- define "topten.component" -}}
{{- $root := index . 0 }}
{{- toYaml (mergeOverwrite (deepCopy $root.Values.defaults) (deepCopy (index $root.Values.components (index . 1) | default dict))) }}
{{- end }}

{{- /* "true" if an autoscaler sets the number of pods of a component; takes (list $ "name" values). */}}
{{- define "topten.scaled" -}}
{{- if or (index . 2).autoscaling.enabled (and (eq (index . 1) "score") (index . 0).Values.keda.enabled) }}true{{ end }}
{{- end }}
