"""Every command line that a controller, or a unit that a role wrote, sends to a host's helper: the command's words, and
what is behind them. `tiny` is a service of the host. Standard library only: recorded with an older helper's parser too.
"""

from __future__ import annotations

# those that controllers and units of 5e44696 send, and today's
BOTH = """
store-state /models llm/tiny v1
store-switch /models llm/tiny v1
store-manifest /models llm/tiny v1
store-send /models llm/tiny v1
store-adopt /models llm/tiny v1 /nas/tiny
store-relay /models llm/tiny v1
store-verify /models llm/tiny v1
store-verify /models llm/tiny v1 --quarantine
store-lease /models llm/tiny v1 ada 3600 benchmark
store-release /models llm/tiny v1 ada
store-warm /models/llm/tiny/v1 600
store-warm /models/llm/tiny/v1 600 --order 10 --at-once 2 --lock 1000
store-hold /models/llm/tiny/v1
store-replaced /models/llm/tiny/v1
store-list /models
store-forget /models llm/tiny@v1 llm/tiny@v2
store-tidy /models
store-shard /models llm/tiny v1 key tiny /engine 2 vllm
load-facts
load-record /engine {}
load-bench --sharded /models/_sharded --ways mmap,prefetch tiny /engine /models/llm/tiny/v1 1 3 vllm
compiled-state /models tiny /engine /models/llm/tiny/v1
compiled-save /models tiny /engine /models/llm/tiny/v1
compiled-use /models tiny /engine /models/llm/tiny/v1 vllm
wheels-state /srv/wheels
wheels-index /srv/wheels
ready /run/x.sock tiny 900
ready-beside /run/x.sock tiny 900
token /run/x.sock tiny
watch tiny 180
lazy-room tiny 60 --seconds 120
lazy-rest tiny 60
services
status
service-counters tiny
gpu-usable 79,95 GPU-1,GPU-2
gpu-settings --gpu 0 persistence=1 mig_layout=3g.40gb
gpu-settings persistence=1 power_limit=300
gpu-health
memory
haproxy /run/haproxy/admin.sock
haproxy-save /run/haproxy/admin.sock /run/haproxy/servers.state
haproxy-weigh /run/haproxy/admin.sock models/g1=20
haproxy-wait /run/haproxy/admin.sock 60 models/g1 models/g2
drain tiny 60
front-out tiny
front-settle tiny lazy
front-settle
surge-gone tiny
unit-hold steelyard.slice 100
switch-state /models llm/tiny tiny
switch-confirm /models llm/tiny tiny r1
switch-try
switch-carry-out tiny
switch-undo tiny
switch-undo tiny --run r1 --why gate
hardware /models github.example
disk /models 5
link-serve 5201 15
link 10.0.0.2 5201 5
registry-probe http://127.0.0.1:5000 library/nginx@sha256:0
dify-state /opt/dify
dify-env /opt/dify
dify-record /opt/dify 1.9.0
dify-up
dify-backup before
dify-scheduled
dify-backups /backups
dify-verify /backups/dify.tar.gz
dify-prove /backups/dify.tar.gz
dify-restore /backups/dify.tar.gz
dify-pull
dify-rehearse
dify-switch
dify-recover
dify-progress
dify-work n1 dify-verify /backups/dify.tar.gz
dify-doing steelyard-dify
""".strip().splitlines()
# those that a helper of 5e44696 refuses with exit status 2, and what is done about it
FIRST = "the same run brings the helper first"
SINCE = {
    "doctor": "`gpu-health` is asked in its place",
    "cause steelyard-vllm@tiny.service": "the unit's log is shown alone",
    "install-wheels /e http://m/simple /e/lock pip install": FIRST,
    "start-unit steelyard-vllm@tiny.service systemctl start": FIRST,
    "surge-restart tiny /models/llm/tiny/v1 900 60": FIRST,
    "haproxy-hold /run/haproxy/admin.sock /etc/haproxy/haproxy.cfg 600": "told, and nothing is begun",
    "haproxy-unmap /run/haproxy/admin.sock /etc/haproxy/steelyard-alias.map alias-old": FIRST,
    "remains steelyard-vllm@tiny.service": FIRST,
    "hosts-remember": FIRST,
    "dify-place /opt/dify": FIRST,
    "dify-place /opt/dify volumes/plugin_daemon/cwd/.uv-cache --mark .steelyard-1": FIRST,
    "key-accepted 10.0.0.1:8000 10.0.0.2:8000": FIRST,
}
LINES = [line.split() for line in (*BOTH, *SINCE)]
LINES.append(["registry-probe", "http://127.0.0.1:5000", ""])  # the API alone
