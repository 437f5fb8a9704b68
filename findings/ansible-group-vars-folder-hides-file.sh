#!/usr/bin/env bash
# ansible-core 2.19.14: a folder group_vars/all/ hides the file group_vars/all.yml beside it.
#
# Both spellings are documented, and it is easily believed that they add up. For each group the names `all`, `all.yml`,
# `all.yaml` and `all.json` are tried in this order, and the first that is there ends the search: with the folder in place nothing of the
# file is read, and nothing says so. A tool that adds `group_vars/all/its-own.yml` to an inventory which keeps its
# variables in `group_vars/all.yml` takes all of them away.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ansible-core==2.19.14"
mkdir -p site/group_vars
echo 'all: {hosts: {one: {}}}' >site/hosts.yml
echo 'in_the_file: 1' >site/group_vars/all.yml
before=$(venv/bin/ansible-inventory -i site --host one)
mkdir site/group_vars/all
echo 'in_the_folder: 2' >site/group_vars/all/own.yml
after=$(venv/bin/ansible-inventory -i site --host one 2>&1)
echo "file alone:      " $before
echo "file and folder: " $after
test "$(echo $before)" = '{ "in_the_file": 1 }' || { echo "changed: the file alone"; exit 1; }
test "$(echo $after)" = '{ "in_the_folder": 2 }' || { echo "changed: both"; exit 1; }
# seen:
# file alone:       { "in_the_file": 1 }
# file and folder:  { "in_the_folder": 2 }
