"""What an engine compiled for a service, kept as a version of the store beside the weights, and used by hosts that are alike.

An artefact is good where everything that it was compiled from is equal: engine, torch, driver, GPUs, processor, the engine's
options and environment, the model's configuration, and the path that the model has (constant, see the role vllm). Their hash is
the version's name, so what does not match is not found. Weights are no part of it: a new version of a model keeps its key.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import shutil
import socket
import stat
import sys
from pathlib import Path
from typing import Any

from steelyard_host import gpu, made_here, store
from steelyard_host.engines import SERVICES

CACHES = Path("/var/cache/steelyard")
MARK = ".steelyard-key"
ALREADY = 2  # exit status of the process that copies
PACKAGES = ("vllm", "torch", "triton", "flashinfer_python")
COMPILED = ("torch_compile_cache", "torch_aot_compile", "inductor_cache", "triton_cache", "flashinfer")
# options that say how weights are read, or where the service is: what is compiled does not depend on them
NOT_COMPILED = re.compile(r"^(safetensors-|model-loader-|load-format|uds|served-model-name|shutdown-timeout|port|host)")


def project(service: str) -> str:
    return "_compiled/" + service


def parts(service: str, engine: Path, folder: Path) -> dict[str, Any]:
    """Everything that a compiled artefact depends on, for people and for the key."""
    found = [path.name.removesuffix(".dist-info") for path in engine.glob("lib/python*/site-packages/*.dist-info")]
    gpus = gpu.nvml(set())
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    lines = (SERVICES / (service + ".yaml")).read_text().splitlines()
    environment = (SERVICES / (service + ".env")).read_text().splitlines()
    config = folder / "config.json"
    return {
        "packages": sorted(name for name in found if name.rsplit("-", 1)[0].lower() in PACKAGES),
        "python": sorted(path.name for path in engine.glob("lib/python*")),
        "gpus": [str(each.get("name")) for each in gpus["devices"]],
        "driver": gpus.get("driver"),
        "processor": hashlib.sha256((flags[1] if flags else "").encode()).hexdigest()[:16],
        "options": sorted(line for line in lines if line and not NOT_COMPILED.match(line)),
        "environment": sorted(line for line in environment if line and not line.startswith(("#", "STEELYARD_"))),
        "config": hashlib.sha256(config.read_bytes()).hexdigest()[:16] if config.exists() else None,
        "path": "/run/steelyard/%s/model" % service,
    }


def key_of(found: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:32]


def state(root: Path, service: str, engine: Path, folder: Path) -> dict[str, Any]:
    """The host's key and what it is made of; bytes that were compiled here; whether they are in the store."""
    found = parts(service, engine, folder)
    key = key_of(found)
    record = store.read_record(store.record_path(root, project(service), key))
    compiled = _compiled(service)
    return {"key": key, "parts": found, "bytes": sum(path.stat().st_size for path in compiled), "saved": record.get("id")}


def _compiled(service: str) -> list[Path]:
    top = CACHES / service / "vllm"
    return [path for name in COMPILED for path in sorted((top / name).rglob("*")) if path.is_file() and not path.is_symlink()]


def save(root: Path, service: str, engine: Path, folder: Path) -> dict[str, Any]:
    """Put what the engine compiled into the store, under the key. Raises StoreError."""
    now = state(root, service, engine, folder)
    if now["saved"] or not now["bytes"]:
        return now
    top = CACHES / service / "vllm"
    owner = top.stat().st_uid
    with store.receiving(root, project(service), now["key"]) as staged:
        try:
            for path in _compiled(service):
                target = staged / path.relative_to(top)
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy_of(path, target, owner)
            manifest = made_here.manifest_of(staged, "made on " + socket.gethostname())
            store.publish(root, project(service), now["key"], manifest, staged)
        except OSError as error:
            raise store.StoreError("%s: %s; nothing was published" % (error.filename or staged, error.strerror)) from error
    return state(root, service, engine, folder)


def _copy_of(path: Path, target: Path, owner: int) -> None:
    """A plain file of the engine's own: its folder is the engine's to write, and a link in it may point at anything."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as stream:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != owner:
            raise store.StoreError("%s is not a file of the engine's own; nothing was published" % path)
        with target.open("xb") as out:
            shutil.copyfileobj(stream, out)


def use(root: Path, service: str, engine: Path, folder: Path, user: str) -> dict[str, Any]:
    """Before a start: what was compiled elsewhere under this very key becomes this service's cache. Never fails a start."""
    if not (root / project(service)).is_dir():
        return {"used": None, "why": "nothing is kept for this service"}
    key = key_of(parts(service, engine, folder))
    kept = root / project(service) / key
    record = store.read_record(store.record_path(root, project(service), key))
    if not record or not kept.is_dir():
        return {"used": None, "why": "what is kept was compiled from something else"}
    if store.altered(root, record):
        return {"used": None, "why": "what is kept was changed since"}
    child = os.fork()
    if child == 0:
        os._exit(_copied_as(user, kept, CACHES / service, key))
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    words = {0: None, ALREADY: "it is in use already"}
    return {"used": key if ended in words else None, "why": words.get(ended, "it could not be copied into the service's cache")}


def _copied_as(user: str, kept: Path, place: Path, key: str) -> int:
    """As the engine's user: what it may write is all that it can be led to write over."""
    try:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        mark = place / MARK
        if mark.exists() and mark.read_text() == key:
            return ALREADY
        for path in sorted(kept.rglob("*")):
            target = place / "vllm" / path.relative_to(kept)
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        mark.write_text(key)
    except (OSError, KeyError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
