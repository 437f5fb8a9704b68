#!/usr/bin/env bash
# ansible-core 2.19.14: an empty file of `--limit @FILE` selects every host, and so does `--limit ,`.
#
# A retry list is written by a run: the one of a run in which nobody failed is empty. "Only those that failed" then becomes "all of them",
# with exit 0 and without a warning, while a file that names hosts which are gone ends in an error. The lines of the file are the patterns;
# of an empty file that is one empty pattern, which is dropped, and where no pattern is left `all` stands in for it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ansible-core==2.19.14"
echo 'all: {hosts: {one: , two: , three: }}' >hosts.yml
hosts() { echo $(venv/bin/ansible all -i hosts.yml --list-hosts -l "$1" 2>&1); }
echo two >failed
: >nobody
echo gone >gone
echo "a line:       $(hosts @failed)"
echo "empty:        $(hosts @nobody)"
echo "a comma:      $(hosts ,)"
echo "nobody's:     $(hosts @gone)"
test "$(hosts @failed)" = "hosts (1): two" || { echo "changed: a line"; exit 1; }
test "$(hosts @nobody)" = "hosts (3): one two three" || { echo "changed: an empty file"; exit 1; }
test "$(hosts ,)" = "hosts (3): one two three" || { echo "changed: a comma"; exit 1; }
case "$(hosts @gone)" in *"no hosts to target"*) ;; *) echo "changed: hosts that are gone"; exit 1 ;; esac
