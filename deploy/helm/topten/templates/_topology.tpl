{{- /*
What the processes are, where they listen, and whom they talk to. Environment, Services and NetworkPolicies are all made
from this one map, so that none of them can say anything else.
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
  calls: [identity]
  service: topten.quiz.v1.QuizService
score:
  module: services.score
  ports: {grpc: 50053, ops: 9103}
  stores: [mongo, redis, nats]
  calls: [identity, quiz]
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

{{- /* What else of this release talks to the processes: `http` is the edge's public port, `ops` everybody's internal one. */}}
{{- define "topten.visitors" -}}
setup: {stores: [mongo, nats], calls: []}
samples: {stores: [], calls: [quiz]}
operator: {stores: [], calls: [identity, quiz, score, leaderboard], http: true, ops: true}
check: {stores: [], calls: [], http: true}
{{- end }}

{{- /* Ports of the stores for trial. */}}
{{- define "topten.storePorts" -}}
mongo: 27017
redis: 6379
nats: 4222
{{- end }}

{{- /* The values of a component: what it sets itself over the defaults; takes (list $ "name"). */}}
{{- define "topten.component" -}}
{{- $root := index . 0 }}
{{- toYaml (mergeOverwrite (deepCopy $root.Values.defaults) (deepCopy (index $root.Values.components (index . 1) | default dict))) }}
{{- end }}

{{- /* "true" if something else than the chart decides how many pods a component has; takes (list $ "name" values). */}}
{{- define "topten.scaled" -}}
{{- if or (index . 2).autoscaling.enabled (and (eq (index . 1) "score") (index . 0).Values.keda.enabled) }}true{{ end }}
{{- end }}
