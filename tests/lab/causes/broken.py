"""Real failures of real engines: what is done to a service before or while it starts, and what its cause must be.

Each row is a unit of the host's own engines, `broken`, with files as a service's own are; what differs from one that
serves is the row.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from support.lab_site import Site, on_host

NAME = "broken"
GROUPS = Path("/sys/fs/cgroup/memory/steelyard-test")  # on this machine
FOLDER = "/var/lib/steelyard-broken"  # on the host
MODEL = f"{FOLDER}/model"  # a copy of a served version
AT = f"/run/steelyard/{NAME}"
ENGINES = {"vllm": "vllm-0.32.0", "llamacpp": "llamacpp-2026.10.11549"}
# the first process of the unit, and a process under it by its title
FIRST = "systemctl show --value -p MainPID steelyard-{engine}@broken"
UNDER = (
    "systemd-cgls -l --no-pager -u steelyard-vllm@broken.service | grep -o '[0-9]* VLLM::EngineCore' | cut -d' ' -f1"
)


@dataclass(frozen=True)
class Row:
    """`harm`: shell, in the copy of the version. `meanwhile`: shell, while it starts. `serves`: it is up before
    `meanwhile`, which ends it.

    `says`: parts of the first line; `mends`: a part of the fix.
    """

    name: str
    code: str
    says: tuple[str, ...]
    mends: str
    engine: str = "vllm"
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    unit: tuple[str, ...] = ()
    harm: str = ""
    meanwhile: str = ""
    serves: bool = False
    config: str | None = None
    memory_mib: int = 0  # that the unit may have

    @property
    def service(self) -> str:
        return f"steelyard-{self.engine}@{NAME}.service"


def edit(file: str, **values: Any) -> str:
    """Shell that changes keys of a JSON file."""
    change = (
        f"import json; d = json.load(open('{file}')); d.update(json.loads('{json.dumps(values)}')); "
        f"json.dump(d, open('{file}', 'w'))"
    )
    return f"python3 -c {shlex.quote(change)}"


def when_there(process: str, signal: str) -> str:
    return f'until P=$({process}) && test -n "$P" && test "$P" != 0; do sleep 0.1; done; sleep 1; kill -{signal} $P'


ROWS: list[Row] = [
    Row("option unknown", "option-unknown", ("no-such-option",), "options", options={"no-such-option": 1}),
    Row(
        "option of another kind",
        "option-value",
        ("max-num-seqs", "many"),
        "serve.options",
        options={"max-num-seqs": "many"},
    ),
    Row("dtype that is none", "option-value", ("dtype", "float13"), "dtype", options={"dtype": "float13"}),
    Row("block size", "block-size", ("17",), "block-size", options={"block-size": 17}),
    Row(
        "cache dtype that is none",
        "option-value",
        ("kv-cache-dtype", "fp9"),
        "options",
        options={"kv-cache-dtype": "fp9"},
    ),
    Row(
        "context too long", "context-too-long", ("1000000", "2048"), "max_model_len", options={"max-model-len": 1000000}
    ),
    Row("shard missing", "file-missing", ("model-00002-of-00002.safetensors",), "models", harm="rm model-00002*"),
    Row("shard truncated", "file-truncated", ("safetensors",), "verify", harm="truncate -s 100000 model-00002*"),
    Row("shard empty", "file-truncated", ("safetensors",), "verify", harm="truncate -s 0 model-00002*"),
    Row(
        "tensors missing",
        "tensor-missing",
        ("lacks tensors",),
        "publish",
        harm="rm model-00002*; sed -i s/model-00002/model-00001/ *.index.json",
    ),
    Row(
        "architecture unknown",
        "architecture-unknown",
        ("NoSuchForCausalLM",),
        "serve.engine_version",
        harm=edit("config.json", architectures=["NoSuchForCausalLM"]),
    ),
    Row(
        "model type unknown",
        "architecture-unknown",
        ("nosuch",),
        "serve.engine_version",
        harm=edit("config.json", model_type="nosuch", architectures=["NoSuchForCausalLM"]),
    ),
    Row("tokenizer missing", "tokenizer-missing", ("tokenizer",), "tokenizer.json", harm="rm tokenizer*"),
    Row(
        "tokenizer broken",
        "file-broken",
        ("JSON", "line 19"),
        "steelyard models verify",
        harm="truncate -s 300 tokenizer.json",
    ),
    Row("config missing", "file-missing", ("config.json",), "publish", harm="rm config.json"),
    Row(
        "config broken", "file-broken", ("config.json",), "steelyard models verify", harm="truncate -s 100 config.json"
    ),
    Row(
        "index broken",
        "file-broken",
        ("JSON", "line 6"),
        "steelyard models verify",
        harm="truncate -s 100 model.safetensors.index.json",
    ),
    Row(
        "chat template missing",
        "chat-template",
        ("/no/such.jinja",),
        "serve.options",
        options={"chat-template": "/no/such.jinja"},
    ),
    Row(
        "cache too small",
        "cache-too-small",
        ("2048 tokens",),
        "serve.max_model_len",
        options={"kv-cache-memory-bytes": 2000000, "max-model-len": 2048},
        environment={"VLLM_CPU_KVCACHE_SPACE": ""},
    ),
    Row(
        "cache larger than memory",
        "memory-too-small",
        ("GiB",),
        "VLLM_CPU_KVCACHE_SPACE",
        environment={"VLLM_CPU_KVCACHE_SPACE": "500"},
    ),
    Row("memory of the unit", "out-of-memory", ("OOM killer", "MiB"), "VLLM_CPU_KVCACHE_SPACE", memory_mib=150),
    Row(
        "environment value",
        "environment-value",
        ("VLLM_CPU_KVCACHE_SPACE", "lots"),
        "serve.environment",
        environment={"VLLM_CPU_KVCACHE_SPACE": "lots"},
    ),
    Row(
        "utilization above one",
        "option-value",
        ("gpu_memory_utilization", "3.0"),
        "models.yml",
        options={"gpu-memory-utilization": 3},
    ),
    Row(
        "ranks",
        "ranks",
        ("4 attention heads", "3 ranks"),
        "serve.tensor_parallel_size",
        options={"tensor-parallel-size": 3},
    ),
    Row("quantization", "quantization", ("nope",), "quantization", options={"quantization": "nope"}),
    Row(
        "quantization that is not the model's",
        "quantization",
        ("awq",),
        "quantization",
        options={"quantization": "awq"},
    ),
    Row("socket taken", "address-taken", ("socket",), "ss -xlp", unit=(f"ExecStartPre=mkdir -p {AT}/engine.sock",)),
    Row(
        "killed by SIGILL",
        "illegal-instruction",
        ("EngineCore", "SIGILL"),
        "float32",
        meanwhile=when_there(UNDER, "ILL"),
    ),
    Row(
        "server killed by SIGSEGV",
        "segmentation-fault",
        ("SIGSEGV",),
        "serve.engine_version",
        meanwhile=when_there(FIRST.format(engine="vllm"), "SEGV"),
    ),
    Row(
        "server killed by SIGKILL",
        "killed",
        ("SIGKILL",),
        "journalctl -k",
        meanwhile=when_there(FIRST.format(engine="vllm"), "KILL"),
    ),
    Row("core aborted", "aborted", ("EngineCore", "SIGABRT"), "journalctl", meanwhile=when_there(UNDER, "ABRT")),
    Row("core killed", "process-gone", ("SIGKILL",), "journalctl -k", meanwhile=when_there(UNDER, "KILL")),
    Row("version missing", "folder-missing", (f"{AT}/model",), "steelyard models push", harm=f"rm -r {MODEL}"),
    Row(
        "shard unreadable",
        "file-missing",
        ("model-00001-of-00002.safetensors", "may not be read"),
        "steelyard models push",
        harm="chmod 000 model-00001*",
    ),
    Row("version unreadable", "file-missing", ("config.json",), "publish", harm="chmod 000 ."),
    Row(
        "engine missing",
        "engine-missing",
        ("vllm-9.9.9",),
        "steelyard apply",
        environment={"STEELYARD_ENGINE": "/opt/steelyard/engines/vllm-9.9.9"},
    ),
    Row(
        "package broken",
        "package-broken",
        ("nosuchlibrary",),
        "steelyard apply",
        environment={"PYTHONPATH": f"{FOLDER}/site"},
        harm=f"mkdir -p {FOLDER}/site; echo 'import nosuchlibrary' >{FOLDER}/site/safetensors.py",
    ),
    Row(
        "library missing",
        "library-missing",
        ("libnuma.so.1",),
        "vllm.packages",
        unit=("InaccessiblePaths=/usr/lib/x86_64-linux-gnu/libnuma.so.1",),
    ),
    Row(
        "compiler missing",
        "compiler-missing",
        ("g++",),
        "enforce-eager",
        options={"enforce-eager": False},
        environment={"TORCHDYNAMO_DISABLE": "0"},
    ),
    Row(
        "key unreadable",
        "key-unreadable",
        ("/etc/steelyard/keys",),
        "systemctl cat",
        unit=("LoadCredential=", "LoadCredential=api_key:/etc/steelyard/keys/none"),
    ),
    Row("user missing", "user-missing", ("user",), "30-account.conf", unit=("User=nosuchuser",)),
    Row("start takes too long", "start-timed-out", ("no token",), "vllm.ready_s", unit=("TimeoutStartSec=5",)),
    Row(
        "no token in time",
        "no-token",
        ("vllm.ready_s",),
        "vllm.ready_s",
        unit=(
            "ExecStartPost=",
            f"ExecStartPost=+/usr/bin/python3 -I /usr/lib/steelyard/steelyard-host.pyz ready {AT}/engine.sock {NAME} 5",
        ),
    ),
    Row("config file no YAML", "config-broken", ("line 1, column 4",), "steelyard apply", config="a: [1\n"),
    Row(
        "environment file missing",
        "environment-file-missing",
        ("environment file",),
        "steelyard apply",
        unit=("EnvironmentFile=/etc/steelyard/services/none.env",),
    ),
    Row(
        "dies while it serves",
        "segmentation-fault",
        ("EngineCore", "SIGSEGV"),
        "serve.engine_version",
        serves=True,
        meanwhile=when_there(UNDER, "SEGV"),
    ),
    Row(
        "GPU unusable",
        "gpu-unusable",
        ("Xid 79",),
        "doctor --hosts",
        unit=(
            (
                "ExecCondition=+/usr/bin/python3 -c 'import sys; print(\"GPU-5130 waits for a reset: Xid "
                "79\"); sys.exit(1)'"
            ),
        ),
    ),
    # llama.cpp
    Row(
        "gguf: no GGUF",
        "not-gguf",
        ("PK",),
        "engine: vllm",
        engine="llamacpp",
        harm="printf 'PK\\003\\004 this is no model at all, is it' >small.gguf.new; mv small.gguf.new tiny.gguf",
    ),
    Row(
        "gguf: truncated",
        "file-truncated",
        ("GGUF",),
        "steelyard models verify",
        engine="llamacpp",
        harm="truncate -s 900000 tiny.gguf",
    ),
    Row(
        "gguf: truncated in its head",
        "file-truncated",
        ("GGUF",),
        "steelyard models verify",
        engine="llamacpp",
        harm="truncate -s 2000 tiny.gguf",
    ),
    Row(
        "gguf: architecture",
        "architecture-unknown",
        ("nosuc",),
        "serve.engine_version",
        engine="llamacpp",
        harm="sed -i '0,/llama/s//nosuc/' tiny.gguf",
    ),
    Row("gguf: none", "version-holds", ("none",), "publish", engine="llamacpp", harm="rm tiny.gguf"),
    Row(
        "gguf: two",
        "version-holds",
        ("other.gguf, tiny.gguf",),
        "publish",
        engine="llamacpp",
        harm="cp tiny.gguf other.gguf",
    ),
    Row(
        "gguf: option unknown",
        "option-unknown",
        ("no_such",),
        "serve.options",
        engine="llamacpp",
        options={"no_such": 1},
    ),
    Row(
        "gguf: option value",
        "option-value",
        ("n_batch", "many"),
        "serve.options",
        engine="llamacpp",
        options={"n_batch": "many"},
    ),
    Row("gguf: memory", "out-of-memory", ("OOM killer", "MiB"), "serve.max_model_len", engine="llamacpp", memory_mib=2),
    Row(
        "gguf: chat template",
        "chat-template",
        ("Expected }}",),
        "chat_template",
        engine="llamacpp",
        options={"chat_template": "{% for m in messages %}{{ m "},
    ),
    Row(
        "gguf: socket taken",
        "address-taken",
        ("socket",),
        "ss -xlp",
        engine="llamacpp",
        unit=(f"ExecStartPre=mkdir -p {AT}/engine.sock",),
    ),
    Row(
        "gguf: unreadable",
        "file-unreadable",
        ("tiny.gguf",),
        "steelyard models push",
        engine="llamacpp",
        harm="chmod 000 tiny.gguf",
    ),
    Row(
        "gguf: engine missing",
        "engine-missing",
        ("llamacpp-1",),
        "steelyard apply",
        engine="llamacpp",
        environment={"STEELYARD_ENGINE": "/opt/steelyard/engines/llamacpp-1"},
    ),
    Row(
        "gguf: killed by SIGSEGV",
        "segmentation-fault",
        ("SIGSEGV",),
        "serve.engine_version",
        engine="llamacpp",
        serves=True,
        meanwhile=when_there(FIRST.format(engine="llamacpp"), "SEGV"),
    ),
]


def files(row: Row) -> dict[str, str]:
    """On the host: the unit's drop-in, and the service's config and environment, as a role would have written them."""
    drop_in = ["[Service]", "Restart=no", f"BindReadOnlyPaths={MODEL}:{AT}/model", *row.unit]
    environment = {"STEELYARD_ENGINE": f"/opt/steelyard/engines/{ENGINES[row.engine]}"}
    if row.engine == "vllm":
        environment |= {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "TORCHDYNAMO_DISABLE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
        }
        options = {
            "dtype": "float32",
            "enforce-eager": True,
            "gpu-memory-utilization": 0.9,
            "max-model-len": 256,
            "model": f"{AT}/model",
            "served-model-name": [NAME],
            "shutdown-timeout": 1,
            "tensor-parallel-size": 1,
            "uds": f"{AT}/engine.sock",
        }
        config = yaml.safe_dump({**options, **row.options})
    else:
        config = json.dumps(
            {
                "folder": f"{AT}/model",
                "socket": f"{AT}/engine.sock",
                "names": [NAME],
                "options": {"n_parallel": 1, "n_ctx": 256, "n_threads": 1, **row.options},
            }
        )
    suffix = "yaml" if row.engine == "vllm" else "json"
    return {
        f"/run/systemd/system/{row.service}.d/50-version.conf": "\n".join([*drop_in, ""]),
        f"/etc/steelyard/services/{NAME}.{suffix}": config if row.config is None else row.config,
        f"/etc/steelyard/services/{NAME}.env": "".join(
            f"{key}={value}\n" for key, value in {**environment, **row.environment}.items() if value
        ),
    }


def begin(row: Row) -> str:
    """Shell: everything of the row but its start."""
    source = "/models/llm/tiny/v1" if row.engine == "vllm" else "/models/gguf/small/v1"
    lines = [
        "set -e",
        END,
        f"mkdir -p {FOLDER} {MODEL}",
        f"cp {source}/* {MODEL}/",
        f"cd {MODEL}",
        row.harm or "true",
        "cd /",
    ]
    lines += [
        f"mkdir -p /run/systemd/system/{row.service}.d",
    ]
    lines += [f"printf %s {shlex.quote(text)} >{path}" for path, text in files(row).items()]
    lines += [f"chgrp steelyard-engine /etc/steelyard/services/{NAME}.*", "systemctl daemon-reload"]
    lines += [f"systemctl reset-failed {row.service} 2>/dev/null || true"]
    return "\n".join(lines)


END = f"""\
systemctl kill --kill-who=all --signal=KILL 'steelyard-*@{NAME}.service' 2>/dev/null || true
systemctl stop 'steelyard-*@{NAME}.service' 2>/dev/null || true
rm -rf {FOLDER} /run/systemd/system.control/steelyard-*@{NAME}.service.d
rm -rf /etc/steelyard/services/{NAME}.* /etc/steelyard/keys/{NAME} /run/systemd/system/steelyard-*@{NAME}.service.d
systemctl daemon-reload
"""


def memory_is_counted(site: Site, host: str) -> bool:
    """Whether the host's own control groups know memory; where this machine has the first hierarchy, only its own
    do.
    """
    return "memory" in on_host(site, host, "cat /sys/fs/cgroup/cgroup.controllers")


def limit_memory(site: Site, host: str, row: Row) -> None:
    """As a drop-in of somebody's would; else from outside, on the first processes of the unit, of which there is one to
    begin with.
    """
    if memory_is_counted(site, host):
        limits = f"MemoryMax={row.memory_mib}M MemorySwapMax=0"
        on_host(site, host, f"systemctl set-property --runtime {row.service} {limits}")
        return
    group = GROUPS / row.service
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.limit_in_bytes").write_text(str(row.memory_mib << 20))
    end = time.monotonic() + 60
    while not (found := [pid for pid in _processes(row.service) if _is_engine(pid)]):
        assert time.monotonic() < end, "the engine is not there"
        time.sleep(0.02)
    for pid in found:
        with suppress(OSError):
            (group / "cgroup.procs").write_text(pid)


def forget_limits() -> None:
    """The control groups of this machine, once nothing runs in them."""
    for group in [*GROUPS.glob("steelyard-*"), GROUPS]:
        if group.is_dir():
            group.rmdir()


def _processes(unit: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        with suppress(OSError):
            if unit in path.read_text():
                found.append(path.parent.name)
    return found


def _is_engine(pid: str) -> bool:
    with suppress(OSError):
        return "/opt/steelyard/engines/" in Path(f"/proc/{pid}/cmdline").read_text()
    return False
