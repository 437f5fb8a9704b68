#!/usr/bin/env bash
# PyYAML 6.0.3: `yaml.CSafeLoader` (libyaml, which Ansible uses where it is there) reads tabs between tokens as space, `yaml.SafeLoader`
# of the same package refuses each of them: after a value, after a key's colon, before a comment, after an item of a list.
#
# YAML 1.2 allows them, so the loader in C is right. Whoever checks an inventory with `yaml.safe_load`, which is the loader in Python
# even where libyaml is there, refuses files with which Ansible has worked for years; only a line of nothing but a tab is an error to both.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "PyYAML==6.0.3"
cat >"$work/look.py" <<'PYTHON'
import yaml

TEXTS = {
    "after a value": "a: 1\t\nb: 2\n",
    "after a colon": "a:\t1\n",
    "before a comment": "a: 1\t# one\n",
    "after an item": "- a\t\n- b\n",
    "a line of its own": "a: 1\n\t\nb: 2\n",
}


def read(text: str, loader: type) -> str:
    try:
        return str(yaml.load(text, loader))
    except yaml.YAMLError as error:
        return type(error).__name__


for name, text in TEXTS.items():
    print(f"{name}: SafeLoader {read(text, yaml.SafeLoader)}, CSafeLoader {read(text, yaml.CSafeLoader)}")
PYTHON
seen=$("$work/venv/bin/python" "$work/look.py")
echo "$seen"
test "$seen" = "after a value: SafeLoader ScannerError, CSafeLoader {'a': 1, 'b': 2}
after a colon: SafeLoader ScannerError, CSafeLoader {'a': 1}
before a comment: SafeLoader ScannerError, CSafeLoader {'a': 1}
after an item: SafeLoader ScannerError, CSafeLoader ['a', 'b']
a line of its own: SafeLoader ScannerError, CSafeLoader ScannerError" || { echo "changed"; exit 1; }
