#!/usr/bin/env bash
# HAProxy 2.6.12 (Debian 12): two of its answers do not have the body that `http-error status N` of the same `defaults` declares.
#
# - `http-request deny status 404` answers with no body at all; the rule needs `default-errorfiles` of its own, although the manual
#   lists `deny` among the users of http-error. Nothing warns at start.
# - a request that cannot be parsed (here: a header line without a colon) gets the built-in HTML page, never the declared 400.
#
# So an API whose clients read JSON answers some of them with nothing, and some with a page.
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
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >haproxy.cfg <<CONFIG
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
    http-error status 404 content-type application/json string "{\"error\": \"nothing is here\"}"
    http-error status 400 content-type application/json string "{\"error\": \"unreadable\"}"
frontend front
    bind 127.0.0.1:$port
    http-request deny status 404 if { path /plain }
    http-request deny status 404 default-errorfiles if { path /asked }
    http-request return status 200
CONFIG
root/usr/sbin/haproxy -db -f haproxy.cfg 2>log &
running+=($!)
until curl -s -o /dev/null "http://127.0.0.1:$port/"; do sleep 0.1; done
plain=$(curl -s -w ' %{http_code} %{size_download}' "http://127.0.0.1:$port/plain")
asked=$(curl -s -w ' %{http_code}' "http://127.0.0.1:$port/asked")
unparsed=$(python3 - "$port" <<'PYTHON'
import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n")
    said = b"".join(iter(lambda: connection.recv(4096), b""))
print(said.split(b"\r\n")[0].decode(), said.rpartition(b"\r\n\r\n")[2].decode())
PYTHON
)
echo "deny status 404:                    $plain"
echo "deny status 404 default-errorfiles: $asked"
echo "a request that cannot be read:      $unparsed"
test "$plain" = " 404 0" || { echo "changed: deny has a body"; exit 1; }
test "$asked" = '{"error": "nothing is here"} 404' || { echo "changed: default-errorfiles"; exit 1; }
case "$unparsed" in *"400 Bad request <html>"*) ;; *) echo "changed: unreadable requests"; exit 1 ;; esac
