"""Versions of models on a host, as declared: received in one stream, verified there, visible only when whole."""

from __future__ import annotations

import json
import struct
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from pyinfra.api.command import FunctionCommand, QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.change import Change
from steelyard.events import BytesMoved, Emit, ignore
from steelyard.host_helper import RUN_HELPER
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.refusal import Refusal
from steelyard.source import Manifest

CHUNK = 1 << 20
ROOM_LEFT = 64 << 20  # bytes a host keeps free besides the version


class Stage(FunctionCommand):
    """Streams files to the host's helper over one channel; a host without our connector cannot take them."""

    def __init__(self, stream: StageStream, live: str) -> None:
        super().__init__(stream.run, [], {})
        self.subject, self.declared, self.live = stream.target, "verified", live


class StageStream:
    """What goes to `store-receive`: header, then the bytes of each file, read as they are sent."""

    def __init__(self, root: str, project: str, version: str, source: Path, manifest: Manifest, send: list[str]) -> None:
        self.target = f"{root}/{project}/{version}"
        self.words = ("store-receive", root, project, version)
        self.source, self.manifest, self.send = source, manifest, send

    def chunks(self) -> Iterator[bytes]:
        manifest = {"id": self.manifest.id, "files": self.manifest.files}
        header = json.dumps({"manifest": manifest, "send": self.send}).encode()
        yield struct.pack(">Q", len(header)) + header
        for name in self.send:
            left = int(self.manifest.files[name]["size"])
            with (self.source / name).open("rb") as stream:
                while left and (chunk := stream.read(min(CHUNK, left))):
                    left -= len(chunk)
                    yield chunk
            if left:
                return  # the source shrank since it was hashed: the host reports the short stream

    def run(self, state: Any, host: Any) -> bool:
        command = StringCommand(RUN_HELPER, *(QuoteString(word) for word in self.words))
        emit: Emit = host.data.get("emit", ignore)
        return bool(host.connector.stream(command, self._told(host.name, emit), _sudo=bool(host.data.get("_sudo"))))

    def _told(self, host: str, emit: Emit) -> Iterator[bytes]:
        """The chunks, with an event for each."""
        done, total = 0, sum(int(self.manifest.files[name]["size"]) for name in self.send)
        for number, chunk in enumerate(self.chunks()):
            yield chunk
            done += len(chunk) if number else 0  # the first is the header
            emit(BytesMoved(host, self.target, done, total))


def files_to_send(manifest: Manifest, now: dict[str, Any]) -> list[str]:
    """Files whose content the host holds in no published version and not whole in staging."""
    held = set(now["held"])
    return [name for name, entry in manifest.files.items() if entry["sha256"] not in held]


@operation()
def published(
    root: str, project: str, version: str, source: Path, manifest: Manifest
) -> Generator[StringCommand | Stage, None, None]:
    """The version is there, whole and verified, with exactly the manifest's files."""
    now = host.get_fact(HelperAnswer, words=("store-state", root, project, version))
    target = f"{root}/{project}/{version}"
    if now is None:
        yield Stage(StageStream(root, project, version, source, manifest, list(manifest.files)), "not looked at yet")
        return
    if now["unrecorded"]:
        yield Refusal(f"{target} is there and was not published by steelyard; move it away or declare another version name")
        return
    if now["published"] not in (None, manifest.id):
        yield Refusal(f"{target} holds other files than its source: versions do not change, declare a new version name")
        return
    if now["published"] == manifest.id and not now["altered"]:
        return
    send = files_to_send(manifest, now)
    size = sum(int(manifest.files[name]["size"]) for name in send)
    if size + ROOM_LEFT > now["free_bytes"]:
        need, free = (size + ROOM_LEFT) / 2**30, now["free_bytes"] / 2**30
        yield Refusal(f"{target}: {need:.1f} GiB needed below {root}, {free:.1f} GiB free; make room, nothing was copied")
        return
    live = "altered: " + ", ".join(now["altered"]) if now["published"] else "missing"
    yield Stage(StageStream(root, project, version, source, manifest, send), live)


@operation()
def current(root: str, project: str, version: str) -> Generator[StringCommand, None, None]:
    """`PROJECT/current` names the version; replaced by rename, and only when the version is published."""
    now = host.get_fact(HelperAnswer, words=("store-state", root, project, version))
    if now is not None and now["current"] == version:
        return
    new, link = QuoteString(f"{root}/{project}/.current.new"), QuoteString(f"{root}/{project}/current")
    live = (now or {}).get("current") or "none"
    there = StringCommand("test -d", QuoteString(f"{root}/{project}/{version}"), "&&")
    bits = [there, "ln -sfn", QuoteString(version), new, "&& mv -T", new, link]
    yield Change(*bits, subject=f"{root}/{project}/current", declared=version, live=live)
