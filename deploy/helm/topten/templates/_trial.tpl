{{- /*
The trial stores: one small server each. `files` become a ConfigMap; `keys` of the generated Secret are mounted beside them.
*/}}
{{- define "topten.trialServers" -}}
mongo:
  # mongod rejects a key file that is readable by its group, as every mounted Secret is.
  command:
    - sh
    - -c
    - >-
      umask 077 && cat /etc/mongo/mongo-keyfile > /tmp/keyfile && exec mongod --replSet topten --dbpath /data/db
      --bind_ip 0.0.0.0 --port 27017 --keyFile /tmp/keyfile --wiredTigerCacheSizeGB 0.25 --nounixsocket
  config: /etc/mongo
  data: /data/db
  ports: {mongo: 27017}
  keys: [mongo-keyfile]
  liveness: {tcpSocket: {port: mongo}}
  readiness: {tcpSocket: {port: mongo}}
redis:
  command: [redis-server, /etc/redis/redis.conf]
  config: /etc/redis
  data: ""
  ports: {redis: 6379}
  keys: [redis-password.conf]
  files:
    # Everything in it is rebuilt from MongoDB, so persistence would only slow the start. Nothing may be evicted: a board
    # that silently loses members is wrong.
    redis.conf: |
      bind 0.0.0.0
      port 6379
      save ""
      appendonly no
      dir /tmp
      maxmemory-policy noeviction
      lazyfree-lazy-eviction yes
      lazyfree-lazy-expire yes
      lazyfree-lazy-server-del yes
      lazyfree-lazy-user-del yes
      include /etc/redis/redis-password.conf
  liveness: {tcpSocket: {port: redis}}
  readiness: {tcpSocket: {port: redis}}
nats:
  command: [nats-server, --config, /etc/nats/nats.conf]
  config: /etc/nats
  data: /data
  ports: {nats: 4222, monitor: 8222}
  keys: [nats-account.conf]
  files:
    # One node: only synced messages survive a power cut.
    nats.conf: |
      listen: "0.0.0.0:4222"
      http: "0.0.0.0:8222"
      server_name: topten
      jetstream { store_dir: "/data", max_file_store: 4GB, sync_interval: always }
      include "nats-account.conf"
  # A stream whose write failed once refuses everything until its server restarts; /healthz reports it.
  liveness: {httpGet: {path: /healthz, port: monitor}}
  readiness: {httpGet: {path: /healthz, port: monitor}}
{{- end }}
