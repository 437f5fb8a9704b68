#!/usr/bin/env bash
# HAProxy 2.6.12 (Debian 12): for a server on a unix socket that refuses, all `retries` are over within a millisecond.
#
# A server whose TCP port is closed is tried again after a pause of `timeout connect`, at most a second, so with enough `retries` a request
# waits for a server that restarts. Of the same server on a unix socket that nobody listens on, as many retries are counted, and there is
# no pause before any of them: the request is a 503 at once. The documentation of `retries` knows no such difference. Who wants requests
# to wait has to have them refused on a TCP port.
set -euo pipefail
work=$(mktemp -d)
running=()
trap 'kill "${running[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
version=2.6.12-1+deb12u4
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download "haproxy=$version" liblua5.3-0 libopentracing-c-wrapper0 libopentracing1
for package in *.deb; do dpkg -x "$package" root; done
LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu:$work/root/lib/x86_64-linux-gnu"
export LD_LIBRARY_PATH
read -r front closed < <(python3 - <<'PYTHON'
import socket

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in sockets))
left = socket.socket(socket.AF_UNIX)
left.bind("left.sock")  # and closed: the file stays, nobody listens
PYTHON
)
cat >haproxy.cfg <<CONFIG
global
    stats socket $work/admin.sock
defaults
    mode http
    timeout connect 100ms
    timeout client 30s
    timeout server 30s
    retries 8
    retry-on conn-failure
frontend in
    bind 127.0.0.1:$front
    use_backend unix if { path /unix }
    default_backend tcp
backend tcp
    server one 127.0.0.1:$closed
backend unix
    server one unix@$work/left.sock
CONFIG
root/usr/sbin/haproxy -db -f haproxy.cfg >log 2>&1 &
running+=($!)
until test -S admin.sock; do sleep 0.1; done
for backend in tcp unix; do
    curl -s -o /dev/null -w "$backend %{http_code} %{time_total}\n" "http://127.0.0.1:$front/$backend"
done | tee answers
python3 - <<'PYTHON'
import csv
import io
import socket

link = socket.socket(socket.AF_UNIX)
link.connect("admin.sock")
link.sendall(b"show stat -1 4 -1\n")
said = b"".join(iter(lambda: link.recv(65536), b"")).decode()
retries = {row["pxname"]: int(row["wretr"]) for row in csv.DictReader(io.StringIO(said.lstrip("# ")))}
print("retries counted:", retries)
assert retries == {"tcp": 8, "unix": 8}, retries
answers = {name: (status, float(took)) for name, status, took in map(str.split, open("answers"))}
assert {status for status, _ in answers.values()} == {"503"}
assert answers["tcp"][1] > 8 * 0.09, "eight pauses of 100 ms"
assert answers["unix"][1] < 0.09, "not one of them"
PYTHON
