"""Everything that changes a state on a host, again and again, and what is read of it after the power went.

Each kind writes the number of the round, and reads one back; what cannot be read raises.
`python -m support.state_writer FOLDER KIND...` writes until it is killed, and says each round that it has done.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from test_store import publish

from steelyard.api.change import FileWrite
from steelyard.rollout.journal import RolloutJournal
from steelyard_host.store import layout, leases
from steelyard_host.store import publish as store
from steelyard_host.system import json_file

PROJECT, FILLING = "llm/x", 3000


class Kind(NamedTuple):
    """How a round is written to a folder, and how its number is read there; 0 where there is none."""

    write: Callable[[Path, int], object]
    read: Callable[[Path], int]


def _text(number: int) -> str:
    return f"{number}\n" + f"{number} " * FILLING


def _number(path: Path) -> int:
    """Of a text that is whole."""
    if not path.exists():
        return 0
    said = path.read_text()
    number = int(said.split("\n")[0])
    assert said == _text(number), f"{path} is a part of a text"
    return number


def _role_file(folder: Path, number: int) -> None:
    command = FileWrite(
        str(folder / "etc/unit.service"), _text(number).encode(), mode="0644", user="root", group="root", live="missing"
    )
    script, text = command.get_raw_value(), command.connector_arguments["_stdin"]
    subprocess.run(["sh", "-c", script], input=str(text), text=True, check=True)


def _version(folder: Path, number: int) -> None:
    root = folder / "models"
    root.mkdir(exist_ok=True)
    publish(root, f"v{number}", a_txt=_text(number).encode())
    store.switch(root, PROJECT, f"v{number}")


def _current(folder: Path) -> int:
    """Of the version that `current` names, whose files are what its record says."""
    root = folder / "models"
    name = layout.pointed(root, PROJECT, "current")
    if name is None:
        return 0
    state = store.state(root, PROJECT, name)
    assert state.published, f"{name} is current, and not published"
    assert not state.altered
    return _number(root / PROJECT / name / "a.txt")


def _lease(folder: Path, number: int) -> None:
    record = layout.record_path(folder / "leased", PROJECT, "v1")
    record.parent.mkdir(parents=True, exist_ok=True)
    record.touch()
    leases.take(folder / "leased", PROJECT, "v1", "team", 3600, str(number))


def _leased(folder: Path) -> int:
    found = leases.of(folder / "leased", PROJECT, "v1")
    return int(found[0].why) if found else 0


def _journal(folder: Path, number: int) -> None:
    RolloutJournal(folder / "journal.jsonl").step("wave", str(number))


def _journalled(folder: Path) -> int:
    """Of its last line; whole lines before it are there."""
    path = folder / "journal.jsonl"
    if not path.exists():
        return 0
    *whole, rest = path.read_text().split("\n")
    numbers = [int(json.loads(line)["host"]) for line in whole]
    assert numbers == list(range(1, len(numbers) + 1))
    assert not rest.strip("\0") or "host" in rest or rest.startswith("{")
    return len(numbers)


def _hasty(folder: Path, number: int) -> None:
    """As it must not be: a rename that nothing waits for."""
    new = folder / "hasty.new"
    new.write_text(_text(number))
    new.replace(folder / "hasty")


KINDS = {
    "file of a role": Kind(_role_file, lambda folder: _number(folder / "etc/unit.service")),
    "record": Kind(
        lambda folder, number: json_file.write_atomically(folder / "state/record", _text(number), mode=0o600),
        lambda folder: _number(folder / "state/record"),
    ),
    "version": Kind(_version, _current),
    "lease": Kind(_lease, _leased),
    "journal of a rollout": Kind(_journal, _journalled),
}
HASTY = Kind(_hasty, lambda folder: _number(folder / "hasty"))


def main(folder: Path, kinds: list[str]) -> None:
    number = 0
    while True:
        number += 1
        for kind in kinds:
            KINDS.get(kind, HASTY).write(folder, number)
            print(f"{number} {kind}", flush=True)
            time.sleep(number % 3 / 50)  # for cuts between rounds too: a next one waits for the names of this one


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
