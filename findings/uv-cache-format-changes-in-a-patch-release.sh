#!/usr/bin/env bash
# uv 0.13.8 and 0.13.9: a patch release changes the format of the cache, so neither installs offline from the other's.
#
# Whoever fills uv's cache where there is a network, and installs from it where there is none, expects any uv of the same
# minor release to do. uv keeps each format in buckets of its own and passes over those it does not know, without a word:
# 0.9 reads wheels-v5, 0.10 to 0.12 wheels-v6, 0.13.0 to 0.13.8 wheels-v7 and 0.13.9 wheels-v8. The install then asks the
# network, as if the cache were empty. The buckets live side by side: a cache that one uv of each generation has filled,
# one after the other, is read by all of them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
releases="0.9.30 0.12.10 0.13.8 0.13.9"
for release in $releases; do
  venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target "uv-$release" "uv==$release"
done
mkdir project
cat >project/pyproject.toml <<'TOML'
[project]
name = "toy"
version = "0.1"
requires-python = ">=3.9"
dependencies = ["idna==3.10"]
TOML
uv() { (cd project && rm -rf .venv && UV_CACHE_DIR=$1 UV_HTTP_RETRIES=0 "$work/uv-$2/bin/uv" "${@:3}" --no-config --quiet --python "$work/venv/bin/python"); }
uv "$work/lock-cache" 0.9.30 lock
for release in $releases; do
  uv "$work/cache-$release" "$release" sync --frozen
  uv "$work/cache-all" "$release" sync --frozen
done
told=""
for filled in $releases all; do
  for reads in $releases; do
    rm -rf copy && cp -a "cache-$filled" copy
    end=no
    # a proxy that is not there stands for a network that is not there
    if HTTPS_PROXY=http://127.0.0.1:9 HTTP_PROXY=http://127.0.0.1:9 ALL_PROXY=http://127.0.0.1:9 NO_PROXY= \
      uv "$work/copy" "$reads" sync --frozen 2>/dev/null; then end=yes; fi
    told="$told$filled>$reads:$end "
  done
  echo "filled by $filled: $(echo "$told" | tr ' ' '\n' | grep "^$filled>" | tr '\n' ' ')"
done
expected=""
for filled in $releases all; do
  for reads in $releases; do
    if [ "$filled" = "$reads" ] || [ "$filled" = all ]; then end=yes; else end=no; fi
    expected="$expected$filled>$reads:$end "
  done
done
[ "$told" = "$expected" ] || { echo "changed"; exit 1; }
# seen: filled by 0.13.8: 0.13.8>0.9.30:no 0.13.8>0.12.10:no 0.13.8>0.13.8:yes 0.13.8>0.13.9:no
