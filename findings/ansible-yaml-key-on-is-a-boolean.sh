#!/usr/bin/env bash
# ansible-core 2.19.14: a variable `on:` in group_vars does not exist: its name is the boolean True.
#
# YAML 1.1 reads `on`, `off`, `yes` and `no` as booleans, as keys too. ansible-core takes the file without a word, `ansible-inventory` shows
# the key as `true`, and no template can name it: `{{ on }}` is undefined. From Python the keys of `get_vars()` are not all text, so sorting
# them raises a TypeError.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ansible-core==2.19.14"
mkdir -p site/group_vars
echo 'all: {hosts: {one: {ansible_connection: local}}}' >site/hosts.yml
printf 'on: push\nother: 1\n' >site/group_vars/all.yml
listed=$(venv/bin/ansible-inventory -i site --host one | tr -d ' \n')
asked=$(venv/bin/ansible one -i site -m debug -a 'msg={{ on | default("undefined") }}' | tr -d ' \n')
cat >look.py <<'PYTHON'
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

loader = DataLoader()
inventory = InventoryManager(loader, sources=["site"])
names = VariableManager(loader, inventory).get_vars(host=inventory.get_host("one"))
print([repr(name) for name in names if not isinstance(name, str)])
PYTHON
names=$(venv/bin/python look.py)
echo "listed: $listed"
echo "asked:  $asked"
echo "names that are no text: $names"
grep -q '"true":"push"' <<<"$listed" || { echo "changed: the list"; exit 1; }
grep -q '"msg":"undefined"' <<<"$asked" || { echo "changed: the template"; exit 1; }
test "$names" = "['True']" || { echo "changed: the name"; exit 1; }
