"""Folders that play the hosts of a push, each with a real helper, for tests of what goes wrong between them."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import gevent

from steelyard.events import BytesMoved, Event
from steelyard.lab.simulated.slow_link import LocalRelay
from steelyard.models.content.manifest import Manifest
from steelyard.models.distribution.push import Push, Pushed
from steelyard.models.sources.resolve import read_manifest
from steelyard_host.store.delta import Delta
from steelyard_host.store.layout import ManifestDocument

PROJECT = "llm/x"
SIZE = 6 << 20


def document_of(manifest: Manifest) -> ManifestDocument:
    return ManifestDocument(manifest.as_json())


class Fleet:
    """Folders that play hosts, and pushes to them."""

    def __init__(self, home: Path, count: int = 4) -> None:
        self.home = home
        self.names = [f"h{number}" for number in range(count)]
        self.talks: dict[str, LocalRelay] = {}
        self.events: list[Event] = []

    def root(self, name: str) -> Path:
        return self.home / name

    def source(self, name: str = "source", tensors: int = 6, changed: tuple[int, ...] = (), extra: int = 0) -> Path:
        """A version with one safetensors file; `changed` tensors have other bytes, `extra` ones stand in front."""
        folder = self.home / name
        folder.mkdir()
        size = SIZE // tensors
        bodies = [random.Random(1000 + number).randbytes(size) for number in range(extra)]
        bodies += [
            random.Random(number + (100 if number in changed else 0)).randbytes(size) for number in range(tensors)
        ]
        header = {
            f"t{number:02}": f'{{"dtype":"U8","shape":[{size}],"data_offsets":[{number * size},{(number + 1) * size}]}}'
            for number in range(len(bodies))
        }
        text = ("{" + ",".join(f'"{key}":{value}' for key, value in header.items()) + "}").encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(bodies))
        (folder / "config.json").write_text("{}")
        return folder

    def push(
        self,
        source: Path,
        version: str = "v1",
        rate: int | None = None,
        meanwhile: Callable[[], None] | None = None,
        base: Path | None = None,
    ) -> tuple[Manifest, Pushed]:
        manifest = read_manifest(PROJECT, f"file://{source}", "models.yml")
        self.talks = {name: LocalRelay(self.root(name), PROJECT, version) for name in self.names}
        where = dict.fromkeys(self.names, "127.0.0.1")
        delta = None
        if base is not None:
            delta = Delta(
                document_of(manifest), document_of(read_manifest(PROJECT, f"file://{base}", "models.yml")), base
            )
        push = Push(manifest, source, where, {}, rate, self.events.append, delta)
        if meanwhile is not None:
            gevent.spawn(meanwhile)
        return manifest, push.run(self.talks)

    def had(self, name: str) -> int:
        """Bytes of the running push that a host told of."""
        return max(
            (event.done for event in self.events if isinstance(event, BytesMoved) and event.host == name), default=0
        )

    def until_had(self, name: str, count: int) -> None:
        while self.had(name) < count:
            gevent.sleep(0.02)

    def holds(self, name: str, source: Path, version: str = "v1") -> bool:
        """Every byte, read again; and nothing in staging."""
        folder = self.root(name) / PROJECT / version
        same = all((folder / path.name).read_bytes() == path.read_bytes() for path in source.iterdir())
        return same and not any(path.is_dir() for path in (self.root(name) / ".steelyard/staging").iterdir())
