"""Parts of an inventory that Ansible passes over: sections that several files say for one host, of which the narrowest
is taken whole, and a file beside a folder of its name."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from steelyard.api.advice import Advice

from .fleet import Fleet, FleetHost
from .locate import named, scopes, sources_of, variable_files, variable_places

if TYPE_CHECKING:
    import yaml


class Said(NamedTuple):
    """A section as one place says it."""

    place: str
    keys: tuple[str, ...]


def split_sections(fleet: Fleet, sections: Iterable[str]) -> list[Advice]:
    """Return advice for each host and section of which keys get lost, and for each file that is not read. Keys that
    the winning place says otherwise are no loss: that is its use.
    """
    documents: dict[Path, yaml.Node | None] = {}
    wanted = tuple(sections)
    return [advice for host in fleet.hosts for advice in _of_host(fleet, host, wanted, documents)]


def _of_host(
    fleet: Fleet, host: FleetHost, sections: tuple[str, ...], documents: dict[Path, yaml.Node | None]
) -> Iterator[Advice]:
    yield from _passed_over(fleet, host)
    said: dict[str, list[Said]] = {}
    sources = sources_of(fleet.path)
    for path in variable_files(fleet.path, host):
        if path not in documents:
            documents[path] = _document(path)
        for node in scopes(documents[path], host, path in sources):
            for name, line, keys in _sections(node):
                if name in sections:
                    said.setdefault(name, []).append(Said(f"{path}:{line}", keys))
    for name, places in said.items():
        final = host.variables.get(name)
        if not isinstance(final, dict):
            continue
        taken = next((place for place in places if set(place.keys) == set(final)), None)
        for other in places:
            lost = [key for key in other.keys if key not in final]
            if lost and taken is not None:
                yield Advice(
                    host.name,
                    f"{name}.split",
                    f"`{name}` is what {taken.place} says, whole; {', '.join(f'`{key}`' for key in lost)} "
                    f"of {other.place} "
                    f"{'is' if len(lost) == 1 else 'are'} not used",
                    f"say all of `{name}` in one place for this host: copy the lost lines to {taken.place}",
                )


def _passed_over(fleet: Fleet, host: FleetHost) -> Iterator[Advice]:
    for place in variable_places(fleet.path, host):
        taken, *others = [path for path in named(place) if path.exists()] or [place]
        for other in others:
            yield Advice(
                host.name,
                f"inventory.passed-over-{other.name}",
                f"{other} is not read, because {taken} is there",
                _together(place, taken, other),
            )


def _together(place: Path, taken: Path, other: Path) -> str:
    """The command that brings both into the folder that Ansible reads whole."""
    if not taken.is_dir():  # a folder of that name would be taken instead of the file, so both go into it
        return (
            shlex.join(["mkdir", "-p", str(place)])
            + " && "
            + shlex.join(["mv", "-t", str(place), str(taken), str(other)])
        )
    into = next(path for path in (taken / f"{stem}{other.suffix}" for stem in _stems()) if not path.exists())
    return shlex.join(["mv", str(other), str(into)])


def _stems() -> Iterator[str]:
    yield "more"
    yield from (f"more-{number}" for number in count(2))


def _document(path: Path) -> yaml.Node | None:
    import yaml

    try:
        return yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        return None  # an INI file, or one that the reader complains about


def _sections(node: yaml.Node | None) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Name, line and keys of each mapping below the top."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(value, yaml.MappingNode):
                yield str(key.value), key.start_mark.line + 1, tuple(str(inner.value) for inner, _ in value.value)
