#!/usr/bin/env bash
# pyinfra 3.10.0: an error in an inventory file raises an exception that cannot be printed.
#
# A name that is not defined in an inventory `.py` is wrapped into pyinfra_cli's UnexpectedExternalError. That class sets
# none of the attributes that click's own exceptions print themselves by, so `str()` of it raises AttributeError. A program
# that embeds pyinfra and shows `{error}` therefore loses the reason, and ends with an error of its own.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "pyinfra==3.10.0"
echo 'hosts = [nme]' >inventory.py
cat >look.py <<'PYTHON'
from pyinfra.api import State
from pyinfra.context import ctx_state
from pyinfra_cli.exceptions import UnexpectedExternalError
from pyinfra_cli.inventory import make_inventory

with ctx_state.use(State()):
    try:
        make_inventory("inventory.py")
    except UnexpectedExternalError as error:
        try:
            print("printed:", str(error))
        except AttributeError as second:
            print("AttributeError:", second)
PYTHON
told=$(venv/bin/python look.py 2>/dev/null)
echo "$told"
case "$told" in "AttributeError: "*message*) ;; *) echo "changed"; exit 1 ;; esac
# seen: AttributeError: 'UnexpectedExternalError' object has no attribute 'message'
