#!/bin/sh
# steelyard: role vllm. The credential becomes environment, so the key is in no command line.
set -eu
if [ -r "${CREDENTIALS_DIRECTORY:-/nonexistent}/api_key" ]; then
    VLLM_API_KEY=$(cat "$CREDENTIALS_DIRECTORY/api_key")
    export VLLM_API_KEY
fi
program=$1
shift
# each service names its engine: two versions can serve side by side
exec "$STEELYARD_ENGINE/bin/$program" "$@"
