"""The cache of what an engine compiled for a service: a version of the store beside the weights, for hosts alike.

An artefact is good where everything that it was compiled from is equal: engine, torch, driver, GPUs, processor, the
engine's options and environment, the model's configuration, and the path that the model has (constant, see the role
vllm). Their hash is the version's name, so what does not match is not found. Weights are no part of it: a new version
of a model keeps its key.
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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from steelyard_host import paths
from steelyard_host.engine.service import SERVICES
from steelyard_host.errors import HelperError
from steelyard_host.hardware import gpu
from steelyard_host.store import layout, publish, sharded_variant
from steelyard_host.system import beneath
from steelyard_host.wire.store import CompileCacheState, CompileCacheUse

CACHES = Path(paths.CACHES)
MARK = ".steelyard-key"
IN_USE = 2  # exit status of the process that copies
PACKAGES = ("vllm", "torch", "triton", "flashinfer_python")
COMPILED = ("torch_compile_cache", "torch_aot_compile", "inductor_cache", "triton_cache", "flashinfer")
# options that say how weights are read, or where the service is: what is compiled does not depend on them
NOT_COMPILED = re.compile(r"^(safetensors-|model-loader-|load-format|uds|served-model-name|shutdown-timeout|port|host)")


def project_of(service: str) -> str:
    """The name under which the store has what the service's engine compiled."""
    return "_compiled/" + service


def parts_of(service: str, engine: Path, folder: Path) -> dict[str, object]:
    """All that a compiled artefact depends on, for people and for the key."""
    packages = [path.name.removesuffix(".dist-info") for path in engine.glob("lib/python*/site-packages/*.dist-info")]
    gpus = gpu.nvml(set())
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    lines = (SERVICES / (service + ".yaml")).read_text().splitlines()
    environment = (SERVICES / (service + ".env")).read_text().splitlines()
    config = folder / "config.json"
    return {
        "packages": sorted(name for name in packages if name.rsplit("-", 1)[0].lower() in PACKAGES),
        "python": sorted(path.name for path in engine.glob("lib/python*")),
        "gpus": [str(device.get("name")) for device in gpus["devices"]],
        "driver": gpus.get("driver"),
        "processor": hashlib.sha256((flags[1] if flags else "").encode()).hexdigest()[:16],
        "options": sorted(line for line in lines if line and not NOT_COMPILED.match(line)),
        "environment": sorted(line for line in environment if line and not line.startswith(("#", "STEELYARD_"))),
        "config": hashlib.sha256(config.read_bytes()).hexdigest()[:16] if config.exists() else None,
        "path": paths.model_mount(service),
    }


def key_of(parts: dict[str, object]) -> str:
    """The name of the version of what is compiled from these parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def state(root: Path, service: str, engine: Path, folder: Path) -> CompileCacheState:
    """The host's key and what it is made of; bytes that were compiled here; whether they are in the store."""
    parts = parts_of(service, engine, folder)
    key = key_of(parts)
    record = layout.published(root, project_of(service), key)
    size = sum(entry.status.st_size for _, entry in _compiled(service))
    return CompileCacheState(key, parts, size, record.id if record is not None else None)


def _compiled(service: str) -> Iterator[tuple[str, beneath.WalkEntry]]:
    """The plain files that the engine compiled, by their names in its cache, where it may leave links too."""
    for name in COMPILED:
        with (
            suppress(FileNotFoundError, NotADirectoryError),
            beneath.opened(CACHES) as top,
            beneath.folder_at(top, "%s/vllm/%s" % (service, name)) as folder,
        ):
            for entry in beneath.walk(folder, (), lambda passed, why: None):
                if stat.S_ISREG(entry.status.st_mode):
                    yield name + "/" + entry.name, entry


def save(root: Path, service: str, engine: Path, model: Path) -> CompileCacheState:
    """Puts what the engine compiled into the store, under the key. Raises HelperError."""
    current = state(root, service, engine, model)
    if current.saved or not current.bytes:
        return current
    with beneath.opened(CACHES) as top, beneath.folder_at(top, service + "/vllm") as folder:
        owner = os.fstat(folder).st_uid
    with publish.receiving(root, project_of(service), current.key) as staged:
        try:
            for name, entry in _compiled(service):
                target = staged / name
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy_of(name, entry, target, owner)
            manifest = sharded_variant.manifest_of(staged, "made on " + socket.gethostname())
            publish.publish(root, project_of(service), current.key, manifest, staged)
        except OSError as error:
            raise HelperError("%s: %s; nothing was published" % (error.filename or staged, error.strerror)) from error
    return state(root, service, engine, model)


def _copy_of(name: str, entry: beneath.WalkEntry, target: Path, owner: int) -> None:
    """Copies a file of the engine's own. Raises HelperError for somebody else's, to which it has made a second name."""
    if entry.status.st_uid != owner:
        raise HelperError("%s is not a file of the engine's own; nothing was published" % name)
    with beneath.reading(entry.handle) as stream, target.open("xb") as out:
        shutil.copyfileobj(stream, out)


def use(root: Path, service: str, engine: Path, folder: Path, user: str) -> CompileCacheUse:
    """Makes what was compiled elsewhere under this very key the service's cache, before a start; never fails one."""
    if not (root / project_of(service)).is_dir():
        return CompileCacheUse(None, "nothing is kept for this service")
    key = key_of(parts_of(service, engine, folder))
    saved = root / project_of(service) / key
    record = layout.published(root, project_of(service), key)
    if record is None or not saved.is_dir():
        return CompileCacheUse(None, "what is kept was compiled from something else")
    if layout.altered(root, record):
        return CompileCacheUse(None, "what is kept was changed since")
    child = os.fork()
    if child == 0:
        os._exit(_copy_as(user, saved, CACHES / service, key))
    exit_status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    reasons = {0: None, IN_USE: "it is in use already"}
    return CompileCacheUse(
        key if exit_status in reasons else None,
        reasons.get(exit_status, "it could not be copied into the service's cache"),
    )


def _copy_as(user: str, saved: Path, cache: Path, key: str) -> int:
    """Copies as the engine's user: what it may write is all that it can be led to write over."""
    try:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        mark = cache / MARK
        if mark.exists() and mark.read_text() == key:
            return IN_USE
        for path in sorted(saved.rglob("*")):
            target = cache / "vllm" / path.relative_to(saved)
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
