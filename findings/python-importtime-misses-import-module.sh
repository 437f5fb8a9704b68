#!/usr/bin/env bash
# CPython 3.10 to 3.13: `-X importtime` does not list a module that is brought by `importlib.import_module`.
#
# Import time is printed by the C code behind the `import` statement; import_module goes through the frozen Python code beside it. What the
# module itself imports is listed, and the time of its own body is in no line: so a plug-in loader looks free, a lazily loaded package too
# (many use PEP 562 with import_module), and a start-up test that greps this output for a module passes while the module is loaded.
# `sys.modules` at the end of the process tells the truth. Shown with jinja2 and packaging.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "jinja2==3.1.6" "packaging==25.0"
listed() { venv/bin/python -X importtime -c "$1" 2>&1 >/dev/null | grep -cE "\| +$2\$" || true; }
loaded() { venv/bin/python -c "$1; import sys; print('$2' in sys.modules)"; }
for module in jinja2.sandbox packaging.version; do
  by_statement="import $module"
  by_call="import importlib; importlib.import_module('$module')"
  echo "$module: listed by a statement $(listed "$by_statement" $module), by a call $(listed "$by_call" $module); loaded by the call: $(loaded "$by_call" $module)"
  test "$(listed "$by_statement" $module)" = 1 || { echo "changed: a statement"; exit 1; }
  test "$(listed "$by_call" $module)" = 0 || { echo "changed: a call is listed"; exit 1; }
  test "$(loaded "$by_call" $module)" = True || { echo "changed: a call does not load"; exit 1; }
done
# what it imports is there, so the output does not look empty
test "$(listed "import importlib; importlib.import_module('jinja2.sandbox')" markupsafe._speedups)" = 1 || { echo "changed: what it imports"; exit 1; }
