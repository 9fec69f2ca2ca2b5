#!/bin/sh
# Where the master is: with GET_HOSTS_FROM=env in the variables that Kubernetes sets for the service redis-master,
# otherwise, or when the service came after this pod, under its DNS name. redis itself retries until it answers.
host=redis-master
port=6379
if [ "${GET_HOSTS_FROM:-dns}" = env ]; then
  host=${REDIS_MASTER_SERVICE_HOST:-$host}
  port=${REDIS_MASTER_SERVICE_PORT:-$port}
fi
echo "replica of $host:$port"
exec redis-server --bind 0.0.0.0 --protected-mode no --dir /data --replicaof "$host" "$port"
