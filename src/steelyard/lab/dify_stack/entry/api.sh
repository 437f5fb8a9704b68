#!/bin/sh
# simulated Dify: one image for API, worker and migration, chosen by MODE, as the official one
set -e
case "$MODE" in
    migration) exec python3 -m dify_double --migrate-only --storage /app/api/storage ;;
    api_websocket) exec python3 -m dify_double.service_stub --port 5001 ;;
    worker|beat) exec python3 -m dify_double.service_stub --redis ;;
    *) exec python3 -m dify_double --port 5001 --postgres --storage /app/api/storage ;;
esac
