"""Brings collected wheels to a mirror host over our own connection, also before its first apply: it needs python3 and
sudo only.

What runs there is steelyard_host's own `wheels_receive` with `wheels`, handed over as text in the command. Only what
the host has not is sent; a part that an earlier try left is gone on with. The host writes the lock itself, from the
files that it has, and its hash has to be that of ours.

Commands and answers are declared here, not in steelyard_host.wire: the receiver's text holds no codec, so it reads and
writes the same keys as plain JSON.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pyinfra.api.command import QuoteString, StringCommand

from steelyard.api.host_error import HostError
from steelyard.errors import SetsInOneFolder, WheelsNotAsLocked, WheelsNotPushed
from steelyard.events import BytesMoved, Emit
from steelyard.serving.kinds import wheels_place
from steelyard_host.mirror.wheels import normalised
from steelyard_host.system.digest import sha256_file
from steelyard_host.wire.codec import WireError, from_json

from .wheel_folder import WheelFolder

if TYPE_CHECKING:
    from pyinfra.api.host import Host

Answer = TypeVar("Answer")
PIECE = 1 << 18
# of steelyard_host, each after what it needs
MODULES = (
    *("errors", "system.digest", "system.json_file", "system.vanishing"),
    *("mirror.wheels", "mirror.receive_wheels"),
)
LOADER = """
import sys, types
for name in ("steelyard_host", "steelyard_host.system", "steelyard_host.mirror"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for name, text in SOURCES:
    module = sys.modules[name] = types.ModuleType(name)
    package, _, own = name.rpartition(".")
    setattr(sys.modules[package], own, module)
    exec(compile(text, own + ".py", "exec"), module.__dict__)
sys.exit(module.main(sys.argv[1:]))
"""


class WantedWheels(NamedTuple):
    """The first command: sha256 of each file of the set. WheelsHeld answers it."""

    wanted: dict[str, str]


class WheelCommand(NamedTuple):
    """A file of `size` bytes is about to come. PartLeft answers it, and Arrived the file."""

    file: str
    size: int
    sha256: str


class FinishCommand(NamedTuple):
    """The last command: names of all files of the set, which takes its place. Finished answers it."""

    finish: tuple[str, ...]


class WheelsHeld(NamedTuple):
    """The bytes of each file that need not be sent; -1 where it is whole."""

    have: dict[str, int]


class PartLeft(NamedTuple):
    """The byte of the file at which sending begins."""

    begin: int


class Arrived(NamedTuple):
    """A file is whole. `altered`: its hash was another, and it was not kept."""

    altered: bool = False


class Finished(NamedTuple):
    """The set is in its place. `lock`: sha256 of the lock that the host wrote."""

    lock: str


@dataclass(frozen=True)
class Delivered:
    """The outcome of a push of one set to one host.

    `sent` and `bytes`: files, and bytes of them, that went over the line.
    """

    host: str
    name: str
    folder: str
    wheels: int
    sent: int
    bytes: int
    lock_sha256: str


def receiver(folder: str) -> StringCommand:
    """The program that takes them, and the folder it takes them into."""
    names = [f"steelyard_host.{name}" for name in MODULES]
    sources = [(name, Path(str(import_module(name).__file__)).read_text()) for name in names]
    return StringCommand("exec python3 -I -c", QuoteString(f"SOURCES = {sources!r}\n{LOADER}"), QuoteString(folder))


def require_as_locked(folder: WheelFolder) -> None:
    """A look at names only, before a byte moves: what the lock names is there, and nothing else. Raises
    WheelsNotAsLocked.
    """
    present = Counter(_key(path.name) for path in folder.files.glob("*.whl"))
    locked = Counter((project, version) for project, version, _ in folder.locked())
    differing = (present - locked) + (locked - present)  # two builds of one version are two
    if differing:
        project, version = sorted(differing)[0]
        raise WheelsNotAsLocked(where=str(folder.path), count=str(differing.total()), first=f"{project} {version}")


def _key(file: str) -> tuple[str, str]:
    parts = file.split("-")
    return normalised(parts[0]), parts[1] if len(parts) > 1 else ""


def places(folders: list[WheelFolder], wheels: str, site_vllm: str) -> dict[str, WheelFolder]:
    """Folder on the mirror to the set that goes there. Raises SetsInOneFolder."""
    folders_by_place: dict[str, WheelFolder] = {}
    for folder in folders:
        chosen = folder.chosen
        assert chosen is not None
        below = wheels_place(chosen.build.kind, chosen.version, site_vllm)
        place = f"{wheels}/{below}" if below else wheels
        other = folders_by_place.setdefault(place, folder)
        if other is not folder:
            raise SetsInOneFolder(
                where=str(folder.path.parent), names=f"{other.title} and {folder.title}", folder=place
            )
    return folders_by_place


def push(host: Host, folder: WheelFolder, place: str, emit: Emit) -> Delivered:
    """Push one set to one host. Raises HostError with WheelsNotPushed, and as connections do."""
    paths = {path.name: path for path in sorted(folder.files.glob("*.whl"))}
    hashes = _hashes(folder, paths)
    total = sum(path.stat().st_size for path in paths.values())
    connector: Any = host.connector
    talk = connector.open_stream(receiver(place))
    answers: Iterator[object] = talk.events(lambda document: document)
    try:
        talk.send_command(WantedWheels(hashes))
        have = _next(host.name, answers, WheelsHeld).have
        absent = [name for name in paths if have[name] >= 0]
        done = total - sum(paths[name].stat().st_size for name in absent)
        sent = 0
        for name in absent:
            size = paths[name].stat().st_size
            talk.send_command(WheelCommand(name, size, hashes[name]))
            begin = _next(host.name, answers, PartLeft).begin
            with paths[name].open("rb") as stream:
                stream.seek(begin)
                done += begin
                while piece := stream.read(PIECE):
                    talk.chunk(0, piece)
                    done, sent = done + len(piece), sent + len(piece)
                    emit(BytesMoved(host.name, folder.title, done, total))
            if _next(host.name, answers, Arrived).altered:
                why = (
                    f"{name} arrived as something else than the lock names; `steelyard wheels verify "
                    f"{folder.path}` looks here"
                )
                raise HostError(WheelsNotPushed(where=host.name, why=why))
        talk.send_command(FinishCommand(tuple(paths)))
        lock = _next(host.name, answers, Finished).lock
    except (OSError, EOFError) as error:
        with suppress(OSError, EOFError):  # it ended while we wrote: its last words say why
            _last_words(host.name, answers)
        raise HostError(WheelsNotPushed(where=host.name, why=str(error) or "the line ended")) from error
    finally:
        talk.close()
    if lock != folder.lock_sha256:
        why = f"its lock for {place} is {lock}, and that of {folder.path} is {folder.lock_sha256}"
        raise HostError(WheelsNotPushed(where=host.name, why=why))
    return Delivered(host.name, folder.title, place, len(paths), len(absent), sent, lock)


def _hashes(folder: WheelFolder, paths: dict[str, Path]) -> dict[str, str]:
    """The hashes as the lock has them, so that a wheel which was altered here is not taken there."""
    locked = {(project, version): sha256 for project, version, sha256 in folder.locked()}
    recorded = {wheel.file: wheel.sha256 for wheel in folder.wheels}
    hashes = {}
    for name, path in paths.items():
        hashes[name] = recorded.get(name) or locked.get(_key(name)) or sha256_file(path)
    return hashes


def _last_words(host: str, answers: Iterator[object]) -> None:
    """Read to the receiver's end. Raises HostError with the error that it ended by, where it said one."""
    for answer in answers:
        _require_no_error(host, answer)


def _next(host: str, answers: Iterator[object], kind: type[Answer]) -> Answer:
    """The receiver's next word. Raises HostError where it is an error, something else, or there is none."""
    try:
        answer = next(answers, {"error": "the receiver ended without a word"})
    except json.JSONDecodeError as error:
        answer = {"error": f"it said `{error.doc[:120]}`"}
    _require_no_error(host, answer)
    try:
        return from_json(kind, answer)
    except WireError as error:
        raise HostError(WheelsNotPushed(where=host, why=f"it said something else: {error}")) from error


def _require_no_error(host: str, answer: object) -> None:
    if isinstance(answer, dict) and "error" in answer:
        raise HostError(WheelsNotPushed(where=host, why=str(answer["error"])))
