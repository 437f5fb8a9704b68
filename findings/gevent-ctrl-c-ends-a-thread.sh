#!/usr/bin/env bash
# gevent 26.9.0: after monkey.patch_all() a Ctrl-C can end a threading.Thread, and the main program goes on to its end with exit 0.
#
# Python raises KeyboardInterrupt in the main thread only. Under gevent every patched thread is a greenlet of that thread, so the
# exception is raised in whichever greenlet happens to run: a progress bar's refresh thread (rich's Live has one) swallows it, prints
# at most a traceback, and the command that was to stop goes on with its next step. Without the patch the same lines stop.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "gevent==26.9.0"
cat >"$work/look.py" <<'PYTHON'
import os
import signal
import sys

if sys.argv[1] == "patched":
    import gevent.monkey

    gevent.monkey.patch_all()
import threading
import time

signal.signal(signal.SIGINT, signal.default_int_handler)


def refresh() -> None:
    os.kill(os.getpid(), signal.SIGINT)  # as if somebody pressed Ctrl-C while a display is drawn
    sum(range(1000))


try:
    threading.Thread(target=refresh).start()
    for _ in range(10):
        time.sleep(0.05)
    print("went on")
except KeyboardInterrupt:
    print("stopped")
PYTHON
plain=$("$work/venv/bin/python" "$work/look.py" plain 2>/dev/null)
patched=$("$work/venv/bin/python" "$work/look.py" patched 2>"$work/log") && ended=0 || ended=$?
echo "without gevent: $plain"
echo "after monkey.patch_all(): $patched, exit $ended"
test "$plain" = stopped || { echo "changed: without gevent"; exit 1; }
test "$patched $ended" = "went on 0" || { echo "changed: with gevent"; exit 1; }
grep -q KeyboardInterrupt "$work/log" || { echo "changed: nothing is printed"; exit 1; }
