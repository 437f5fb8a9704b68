#!/bin/sh
# steelyard: role vllm
set -eu
program=$1
shift
# each service names its engine: two versions can serve side by side
exec "$STEELYARD_ENGINE/bin/$program" "$@"
