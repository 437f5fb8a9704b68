#!/usr/bin/env bash
# gevent 26.9.0: after monkey.patch_all(), and once a hub exists, os.close() of a pipe or terminal returns before it is closed.
#
# The patched function hands the descriptor to the event loop, which closes it when it runs next. In a program that then blocks in a
# call which is not cooperative (os.read of a terminal or a pipe whose far side it has just closed) the loop never runs: the
# descriptor stays open, end of file never comes, and the program waits for ever. The same lines without the patch end at once.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "gevent==26.9.0"
cat >"$work/look.py" <<'PYTHON'
import os
import sys

if sys.argv[1] == "patched":
    import gevent
    import gevent.monkey

    gevent.monkey.patch_all()
    gevent.sleep(0)  # from here on there is a hub
near, far = os.pipe()
name = os.readlink(f"/proc/self/fd/{far}")


def is_open() -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{far}") == name
    except OSError:
        return False


os.close(far)
print("open after close:", is_open())
if sys.argv[1] == "patched":
    gevent.sleep(0.05)
    print("open after the loop ran:", is_open())
PYTHON
plain=$("$work/venv/bin/python" "$work/look.py" plain)
patched=$("$work/venv/bin/python" "$work/look.py" patched)
echo "plain: $plain"
echo "patched: $patched"
test "$plain" = "open after close: False" || { echo "changed: plain"; exit 1; }
test "$patched" = "open after close: True
open after the loop ran: False" || { echo "changed: patched"; exit 1; }
