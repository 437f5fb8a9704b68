#!/bin/sh
# simulated Dify: what the official redis image's entry point does
set -e
mkdir -p /data && cd /data
if test "$1" = redis-server && test "$(id -u)" = 0; then
    chown -R redis:redis /data
    exec setpriv --reuid=redis --regid=redis --init-groups "$@"
fi
exec "$@"
