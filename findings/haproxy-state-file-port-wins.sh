#!/usr/bin/env bash
# HAProxy 2.6.12 (Debian 12): a server's port in the server state file wins over the port of the new configuration; its weight of before
# is kept too, and its address is not.
#
# `load-server-state-from-file` is there to carry health and weights over a reload. Whoever changes a server's port and reloads goes on
# sending to the old port, without a warning: the line of the state file matches by backend and server name. A port of 0 or `-` in the
# file is no way out either: the server then has port 0, and requests get 503. The line has to be left out.
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
cat >servers.py <<'PYTHON'
import http.server
import socket
import sys
import threading

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
free = socket.create_server(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in (*sockets, free)), flush=True)
free.close()


def serve(listening: socket.socket, text: bytes) -> None:
    while True:
        connection, _ = listening.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n" + text)
        connection.close()


threading.Thread(target=serve, args=(sockets[0], b"old"), daemon=True).start()
serve(sockets[1], b"new")
PYTHON
python3 servers.py >ports &
running+=($!)
until test -s ports; do sleep 0.1; done
read -r old new front <ports
configure() {
    cat >haproxy.cfg <<CONFIG
global
    server-state-file $work/state
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
    load-server-state-from-file global
frontend front
    bind 127.0.0.1:$front
    default_backend back
backend back
    server one 127.0.0.1:$1
CONFIG
}
# as `show servers state` of a process whose configuration said $old prints it
state() {
    printf '1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight %s\n' \
        "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
    printf '3 back 1 one 127.0.0.1 2 0 1 1 1 1 0 2 0 0 0 0 - %s - 0 0 - - 0\n\n' "$1"
}
asked() {
    root/usr/sbin/haproxy -db -f haproxy.cfg 2>log &
    running+=($!)
    until answer=$(curl -s -m 5 -w ' %{http_code}' "http://127.0.0.1:$front/"); do sleep 0.1; done
    kill $!
    wait $! 2>/dev/null || true
    echo "$answer" | tail -1
}
configure "$new"
: >state
empty=$(asked)
state "$old" >state
kept=$(asked)
state 0 >state
zero=$(asked)
echo "no state: $empty"
echo "state of the old port: $kept"
echo "state with port 0: ${zero: -3}"
test "$empty" = "new 200" || { echo "changed: without a state"; exit 1; }
test "$kept" = "old 200" || { echo "changed: the old port"; exit 1; }
test "${zero: -3}" = 503 || { echo "changed: port 0"; exit 1; }
