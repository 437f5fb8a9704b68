#!/usr/bin/env bash
# Docker Compose 2.26.1 (Debian 13): in a double-quoted value of `.env`, `\0` is an octal escape with exactly three digits after it only.
#
# The reader of `.env` takes `\0` and up to three digits for one escape, as a shell's `printf %b` does, and hands the digits to Go, which wants
# three of them. So "\0101" is the letter A; of "\012" (a line feed to a shell) the zero goes and a backslash and "12" stay; and of
# "\0" (a NUL, or a `0`) only the backslash is left. No warning says that a character of the value is gone. In single quotes a backslash is
# text, but for one before a quote: a text that ends in a backslash therefore has no single-quoted form, and 'C:\' takes the next lines in.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
version=2.26.1-4
cd "$work"
mkdir -p lists/partial cache/archives/partial parts
touch status
uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri trixie main" >sources.list
own=(-oDir::Etc::SourceList="$work/sources.list" -oDir::Etc::SourceParts="$work/parts" -oDir::State="$work" -oDir::State::Lists="$work/lists"
  -oDir::State::Status="$work/status" -oDir::Cache="$work/cache" -oAPT::Sandbox::User=root -oAcquire::Languages=none)
apt-get -qq "${own[@]}" update
apt-get -qq "${own[@]}" download "docker-compose=$version"
dpkg-deb -x docker-compose_*.deb root
cat >.env <<'ENV'
THREE="[\0101]"
TWO="[\012]"
NONE="[\0]"
ENDS='C:\'
NEXT='swallowed'
ENV
cat >docker-compose.yaml <<'YAML'
services:
  one:
    image: none
    env_file: [.env]
YAML
compose=root/usr/libexec/docker/cli-plugins/docker-compose
"$compose" version --short
head -n 3 .env >good.env
cp .env whole.env && cp good.env .env
"$compose" --project-name finding config --format json >shown.json
python3 - <<'PYTHON'
import json

seen = json.load(open("shown.json"))["services"]["one"]["environment"]
print(seen)
assert seen == {"THREE": "[A]", "TWO": "[\\12]", "NONE": "[\\]"}, seen
PYTHON
cp whole.env .env
if "$compose" --project-name finding config --format json >shown.json 2>said; then
  echo "it reads a single-quoted text that ends in a backslash now" >&2
  exit 1
fi
cat said
grep -q "unexpected character" said
echo "seen: \\0 with fewer than three digits keeps its backslash and loses its zero; no single-quoted text ends in a backslash"
