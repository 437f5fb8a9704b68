"""Dify's stack brought up, its release written down, and its state in one answer."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from steelyard_host.dify import database, env_file, stores, tenant_keys
from steelyard_host.dify.stack import (
    BEHIND,
    CONFIG,
    DATABASE,
    PROXY,
    RECORD,
    Container,
    DifyError,
    Stack,
    declared_config,
    declared_stack,
    run,
)
from steelyard_host.system import beneath, json_file, untar
from steelyard_host.system.digest import sha256_stream
from steelyard_host.wire.codec import to_json
from steelyard_host.wire.dify import EnvChanges, InstalledRelease, PlacedFiles, ReleaseRecord, StackState, Unready


def start(stack: Stack, seconds: float) -> None:
    """Starts what should run and waits until it does, and Dify answers with its version. Raises DifyError."""
    if stack.has_own_database:
        database.start(stack, seconds)
        database.settle_password(stack)
    stack.compose("up", "--detach", "--remove-orphans", "--quiet-pull")
    stack.write_made_from()
    follow_addresses(stack)
    stack.wait(seconds)


def follow_addresses(stack: Stack) -> bool:
    """Lets the proxy look up anew where the services are that were started after it; whether it had to.

    A container that is made anew may get another address, and the release's nginx keeps the one of its own start: it
    would answer 502 until somebody restarts it. Raises DifyError.
    """
    containers = stack.containers()
    proxy = containers.get(PROXY)
    if proxy is None or proxy.state != "running":
        return False
    moved = [name for name in BEHIND if name in containers and containers[name].began > proxy.began]
    if moved:
        stack.let_proxy_look()
    return bool(moved)


def start_declared() -> Unready:
    """Starts the declared stack. Raises DifyError, also where a store would not read the volume that it has."""
    stack = declared_stack()
    stores.require_readable(stack)
    start(stack, stack.ready_s)
    return Unready({})


def state(folder: Path) -> StackState:
    """All that a plan and drift ask of this host, in one answer."""
    config = declared_config() if CONFIG.exists() else {"folder": str(folder), "project": "dify", "port": 80}
    stack = Stack(config, folder)
    record = stack.record()
    installed = record.version is not None and (folder / env_file.LIVE).exists()
    current = StackState(
        version=record.version,
        changed=tuple(_changed(folder, record)),
        env=env_file.merged(folder)[1] if (folder / env_file.TEMPLATE).exists() else EnvChanges(),
        unready={},
        open=(),
        keyless=(),
        cores=os.cpu_count() or 1,
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        error="",
        compose=compose_version(),
    )
    try:
        containers = stack.containers() if installed else {}
        unready = stack.unready(containers) if installed else {}
        if installed and not unready and (why := stack.silent()):
            unready = {PROXY: why}
    except DifyError as error:
        return current._replace(error=str(error))
    reachable = DATABASE in containers or not stack.has_own_database
    return current._replace(
        unready=unready,
        open=open_ports(containers),
        keyless=tuple(tenant_keys.lost(stack)) if reachable else (),
    )


def open_ports(containers: dict[str, Container]) -> tuple[str, ...]:
    """Published addresses that other hosts reach, but for the proxy's."""
    published = {port for name, container in containers.items() if name != PROXY for port in container.ports}
    return tuple(sorted(address for address in published if not address.startswith(("127.", "[::1]"))))


def compose_version() -> str:
    """Compose's own release, as `2.26.1`; empty where there is none yet."""
    try:
        said = run(["docker", "compose", "version", "--short"], True).stdout
    except DifyError:
        return ""
    numbers = re.search(r"\d+\.\d+\.\d+", said)
    return numbers[0] if numbers else ""


def install_record(folder: Path, version: str, names: list[str]) -> InstalledRelease:
    """Writes down which files of a release are in the folder, by their hashes; files of another release go."""
    before = Stack({"project": "", "port": 0}, folder).record().files
    with beneath.opened(folder) as top:
        for name in before.keys() - set(names):
            beneath.unlink(top, name)
        record = ReleaseRecord(version, {name: file_hash(top, name) for name in names})
    json_file.write_atomically(folder / RECORD, json.dumps(to_json(record), indent=1), mode=0o600)
    return InstalledRelease(version, len(record.files))


def place(folder: Path, below: str, archive: BinaryIO, mark: str | None = None) -> PlacedFiles:
    """Lays an archive's members below a project's folder, each in the place of what is there, as root's files.

    Containers may write in some of its folders: where one of those on the way is a link, nothing is laid there, and
    DifyError says so. `mark`: an empty file that is there when all the others are.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    names, count = untar.MemberNames(), 0
    try:
        with (
            beneath.opened(folder) as project,
            beneath.folder_at(project, below, make=True) as top,
            _unpacked(archive) as stream,
            tarfile.open(fileobj=stream, mode="r|") as members,
        ):
            for member in members:
                name = names.take(member)
                if name:
                    untar.replace_member(members, member, top, name)
                    count += 1
            while stream.read(untar.BLOCK):
                pass  # to the end: the sum of all is there
            if mark is not None:
                os.sync()  # the mark says that all of it is there
                with beneath.new_file(top, mark, 0o644):
                    pass
    except OSError as error:
        at = "/".join(str(part) for part in (folder, below, error.filename) if part)
        raise DifyError("%s: %s; nothing more was laid there" % (at, error.strerror)) from error
    except (tarfile.TarError, EOFError, zlib.error, untar.UnsafeMember) as error:
        raise DifyError("what was sent for %s/%s is no archive of ours: %s" % (folder, below, error)) from error
    return PlacedFiles(count)


def _unpacked(archive: BinaryIO) -> BinaryIO:
    """The archive's bytes, whether it comes packed or not."""
    stream = io.BufferedReader(archive)  # type: ignore[type-var]  # it reads
    return cast(BinaryIO, gzip.open(stream) if stream.peek(2)[:2] == b"\x1f\x8b" else stream)


def _changed(folder: Path, record: ReleaseRecord) -> list[str]:
    """Names of the release's files that are other than they were put there."""
    if not record.files:
        return []
    with beneath.opened(folder) as top:
        return sorted(name for name, hash in record.files.items() if file_hash(top, name) != hash)


def file_hash(top: int, name: str) -> str | None:
    """The sha256 of a plain file below an open folder; None where there is none, or a link."""
    try:
        with beneath.file_at(top, name) as file:
            return sha256_stream(file)
    except OSError:
        return None
