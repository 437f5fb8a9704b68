#!/usr/bin/env bash
# ansible-core 2.19.14: causes of an error go in a circle where a lookup is of a collection that is not installed.
#
# Who looks for the bottom of an exception walks `error.__cause__ or error.__context__` until None. Python keeps the contexts it sets free of
# circles, but causes are set by hand: for a template that asks for a plugin of a missing collection, the walk never ends, and the program
# hangs with a processor at 100 %. The traceback module is not stuck, because it remembers what it has printed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ansible-core==2.19.14"
cat >look.py <<'PYTHON'
import sys

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

init_plugin_loader()
try:
    Templar(DataLoader()).template(trust_as_template("{{ lookup('" + sys.argv[1] + "', 'x') }}"))
except AnsibleError as found:
    met, error = set(), found
    while error is not None and id(error) not in met:
        met.add(id(error))
        error = error.__cause__ or error.__context__
    print("no end" if error is not None else "an end", "after", len(met))
PYTHON
missing=$(venv/bin/python look.py community.hashi_vault.hashi_vault 2>/dev/null)
file=$(venv/bin/python look.py ansible.builtin.file 2>/dev/null)
echo "a file that is not there:       $file"
echo "a collection that is not there: $missing"
case "$file" in "an end"*) ;; *) echo "changed: a file"; exit 1 ;; esac
case "$missing" in "no end"*) ;; *) echo "changed: a collection"; exit 1 ;; esac
