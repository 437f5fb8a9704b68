"""The files and programs of the host of helper_machine.py. Standard library only, and Python 3.9, like the helper."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from pathlib import Path

PROGRAMS = {
    "fio": """[ -e ROOT/no-fio ] && exit 1
echo '{"jobs": [{"error": 0, "read": {"bw_bytes": 2147483648}}]}'""",
    "ping": "echo 'rtt min/avg/max/mdev = 0.041/0.052/0.061/0.008 ms'",
    "timeout": "exit 0",
    "iperf3": """[ -e ROOT/busy ] && echo '{"error": "the server is busy"}' && exit 1
echo '{"end": {"sum_received": {"bits_per_second": 9412345678.5}}}'""",
    "timedatectl": "echo yes",
    "journalctl": """echo '2026-11-29T07:09:36+0000 host kernel: NVRM: Xid (PCI:0000:18:00): 79, pid=1'
echo '2026-11-29T07:10:36+0000 host kernel: NVRM: Xid (PCI:0000:18:00): 79, pid=1'
echo '2026-11-29T07:11:36+0000 host kernel: NVRM: Xid (PCI:0000:19:00): 13, pid=1'""",
    "systemctl": 'case "$*" in *resting*) exit 3 ;; esac',
    "systemd-escape": "echo instance",
    "docker": """case "$*" in
"ps "*) echo c1 ;;
"inspect "*) cat ROOT/containers.json ;;
*"--format json") cat ROOT/compose.json ;;
*" api db heads") echo 'a1 (head)' ;;
*alembic_version*) echo a1 ;;
*"FROM tenants"*) [ ! -e ROOT/keyless ] || echo 'w1 PUBLIC|' ;;
*"SELECT datname"*) echo dify ;;
*rolcreatedb*) echo t ;;
*information_schema*) echo 87 ;;
*pg_database_size*) echo 4096 ;;
*pg_dump*) printf dump ;;
*pg_restore*) cat >/dev/null ;;
*" up --detach --remove-orphans"*) if [ -e ROOT/fail-up ]; then rm ROOT/fail-up; echo 'no such image' >&2; exit 1; fi ;;
*" logs "*) echo 'worker: no such table' ;;
esac""",
}
FILES = {
    "proc/meminfo": "MemTotal:       33554432 kB\nMemAvailable:   16777216 kB\n",
    "proc/mdstat": "md0 : active raid1 sda1[0] sdb1[1]\n",
    "proc/net/tcp": "  0: 00000000:1451 00000000:0000 0A\n",
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n",
    "etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\n',
    "sys/block/nvme0n1/size": "4194304\n",
    "sys/block/nvme0n1/queue/rotational": "0\n",
    "sys/block/sda/size": "8388608\n",
    "sys/block/sda/queue/rotational": "1\n",
    "sys/block/loop0/size": "1\n",
    "sys/class/net/eth0/operstate": "up\n",
    "sys/class/net/eth0/speed": "10000\n",
    "sys/class/net/eth0/mtu": "9000\n",
    "sys/class/net/veth1/operstate": "up\n",
    "sys/class/net/veth1/speed": "-1\n",
    "sys/class/net/veth1/mtu": "1500\n",
    "sys/class/iommu/dmar0/name": "",
    "services/tiny.yaml": "model: /run/steelyard/tiny/model\nmax-model-len: 256\nuds: /run/x.sock\n",
    "services/tiny.env": "STEELYARD_LOAD=preload\nVLLM_USE_V1=1\n",
    "engine/lib/python3.12/site-packages/vllm-0.32.0.dist-info/METADATA": "",
    "engine/lib/python3.12/site-packages/requests-2.0.dist-info/METADATA": "",
    "caches/tiny/vllm/torch_compile_cache/a.so": "compiled",
    "units/steelyard-vllm@tiny.service.d/60-gpus.conf": "[Service]\nEnvironment=CUDA_VISIBLE_DEVICES=GPU-1,GPU-2\n",
    "made/config.json": "{}",
    "made/model.safetensors": "weights",
    "mirror/files/tiny_pkg-1.0-py3-none-any.whl": "wheel",
    "containers.json": json.dumps(
        [
            {
                "Config": {
                    "Labels": {"com.docker.compose.service": name, "com.docker.compose.config-hash": "h"},
                    "Image": "langgenius/" + name,
                },
                "State": {"Status": "running", "Health": {"Status": "healthy"}, "ExitCode": 0},
                "RestartCount": 0,
                "HostConfig": {"PortBindings": {"5003/tcp": [{"HostIp": "", "HostPort": "5003"}]}},
            }
            for name in ("api", "db_postgres", "plugin_daemon")
        ]
    ),
    "compose.json": json.dumps({"services": {name: {} for name in ("api", "db_postgres", "plugin_daemon", "web")}}),
}
RELEASE = {
    "docker-compose.yaml": "services: {}\n",
    ".env.example": "EDITION=SELF_HOSTED\nSECRET_KEY=sk-common\nDB_USERNAME=postgres\nLOG_LEVEL=INFO\n",
}
ENV = "EDITION=SELF_HOSTED\nSECRET_KEY=sk-common\nDB_USERNAME=postgres\nLOG_LEVEL=DEBUG\nMINE=1\n"


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def build(root: Path) -> None:
    """Everything that the commands look at."""
    for name, text in FILES.items():
        write(root, name, text)
    for name, text in PROGRAMS.items():
        write(root, "bin/" + name, "#!/bin/sh\n" + text.replace("ROOT", str(root)) + "\n")
        (root / "bin" / name).chmod(0o755)
    for bus, kind, width in (
        ("0000:18:00.0", "0x030200", 16),
        ("0000:19:00.0", "0x030200", 8),
        ("0000:40:00.0", "0x068000", 0),
    ):
        folder = f"sys/bus/pci/devices/{bus}/"
        write(root, folder + "vendor", "0x10de\n")
        write(root, folder + "class", kind + "\n")
        write(root, folder + "device", "0x2330\n")
        write(root, folder + "numa_node", "-1\n")
        if width:
            write(root, folder + "current_link_width", f"{width}\n")
            write(root, folder + "max_link_width", "16\n")
    config = {"folder": str(root / "dify"), "project": "dify", "port": 80, "databases": ["dify", "dify_plugin"]}
    write(root, "dify.json", json.dumps({**config, "backups": str(root / "backups"), "keep": 2, "prove_every": 1}))
    write(root, "dify.env", json.dumps({"LOG_LEVEL": "WARNING"}))
    (root / "state").mkdir()


def registry() -> http.server.ThreadingHTTPServer:
    """A registry that serves the image `a/b:1`, until it is told to shut down."""
    blob = b"layer" * 1000
    layer = {"digest": "sha256:" + hashlib.sha256(blob).hexdigest(), "size": len(blob)}
    content = json.dumps({"layers": [layer], "config": {"digest": "sha256:0", "size": 2}}).encode()
    bodies = {"/v2/": b"{}", "/v2/a/b/manifests/1": content, "/v2/a/b/blobs/" + str(layer["digest"]): blob}

    class Registry(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bodies.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("X-Steelyard-Mode", "sealed")
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server
