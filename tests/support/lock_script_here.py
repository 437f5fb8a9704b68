"""A keeper of locks in a folder of this machine: the real script, with a boot, an uptime and a wall clock of its
own.
"""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from support.lock_keeper import Folder, Record

from steelyard.engine.lock_script import SCRIPT
from steelyard.engine.run_owner import RunOwner

COMMANDS = ("mkdir", "flock", "date", "rm", "cat", "sync", "mv")
OLDER = (Path(__file__).parent / "older_lock.sh").read_text()
# each command of the script is counted before it runs, and the one with a number fails, or finds its shell killed
COUNTED = """
seen() {{
  read -r n <{count}; n=$((n + 1)); echo "$n" >{count}; echo "$1" >>{trace}
  if test "$n" = {kill}; then kill -9 $$; exit 1; fi
  test "$n" != {fail}
}}
date() {{ seen date && echo {wall}; }}
"""


class Said(NamedTuple):
    """How the script ended, what it printed, and which commands it ran. A killed one ends with -9."""

    code: int
    lines: list[str]
    commands: list[str]


class KeeperHere:
    """One keeper, whose clocks are set by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.disk, self.proc = folder, folder / "disk", folder / "proc"
        (self.proc / "sys/kernel/random").mkdir(parents=True)
        (self.proc / "1").mkdir()
        self.wall = 1_700_000_000
        self.set("boot-1", 5000, 5000)

    def set(self, boot: str, up: int, age: int) -> None:
        """The boot that it is in, its uptime, and for how long its first process has been there."""
        (self.proc / "sys/kernel/random/boot_id").write_text(boot + "\n")
        (self.proc / "uptime").write_text(f"{up}.37 12345.67\n")
        fields = ["S", *["0"] * 18, str((up - age) * 100), *["0"] * 30]
        (self.proc / "1/stat").write_text(f"1 (a (strange) name) {' '.join(fields)}\n")

    def __call__(
        self,
        verb: str,
        run: str,
        name: str = "lock",
        ttl: int = 600,
        *,
        stdin: str | None = None,
        fail: int = 0,
        kill: int = 0,
        file_size: int | None = None,
        shell: str = "sh",
    ) -> Said:
        """Run the script. `fail`, `kill`: the number of the command that fails, or before which the shell is killed.

        `file_size`: no file may become larger, as on a full disk.
        """
        count, trace = self.folder / "count", self.folder / "trace"
        count.write_text("0\n")
        trace.write_text("")
        places = {"count": shlex.quote(str(count)), "trace": shlex.quote(str(trace))}
        counted = COUNTED.format(**places, wall=self.wall, kill=kill, fail=fail)
        counted += "".join(
            f'{word}() {{ seen {word} && command {word} "$@"; }}\n' for word in COMMANDS if word != "date"
        )
        if file_size is not None:
            counted = f"date() {{ echo {self.wall}; }}\n"  # counting writes files too
        script = SCRIPT.replace("d=/var/lib/steelyard; proc=/proc;", f"d={self.disk}; proc={self.proc};")
        assert str(self.disk) in script
        words = [shell, "-c", counted + script, "lock", verb, run, str(ttl), name]
        limit = _no_larger_than(file_size) if file_size is not None else None
        done = subprocess.run(
            words, input=stdin or request(run), capture_output=True, text=True, preexec_fn=limit, check=False
        )
        return Said(done.returncode, done.stdout.splitlines(), trace.read_text().split())

    def older(self, verb: str, run: str, name: str = "lock", ttl: int = 600) -> Said:
        """Run the script of controllers before the record, with its owner."""
        script = OLDER.replace("d=/var/lib/steelyard;", f"d={self.disk}; date() {{ echo {self.wall}; }};")
        assert str(self.disk) in script
        owner = json.dumps({**json.loads(request(run).splitlines()[0]), "host": "older"})
        words = ["sh", "-c", script, "lock", verb, run, str(ttl), name]
        done = subprocess.run(words, input=owner, capture_output=True, text=True, check=False)
        return Said(done.returncode, [line for line in done.stdout.splitlines() if line], [])

    def folders(self) -> dict[str, Folder]:
        """The locks as they lie on the disk."""
        return {path.name: _folder(path) for path in sorted(self.disk.glob("lock*"))}


def request(run: str) -> str:
    """What `take` reads for a run: its owner's two lines."""
    owner = RunOwner(run, "anna", "ops", 7, "b", "s", "2026-01-31T23:59:59Z", "apply", "m", "ns")
    return f"{json.dumps(owner.as_json())}\n{json.dumps({**owner.as_json(), 'host': 'ops.'})}\n"


def _no_larger_than(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _folder(path: Path) -> Folder:
    shown = path / "owner"
    owner = shown.read_text().rstrip("\n") if shown.exists() else None
    until = path / "until"
    end = int(until.read_text()) if until.exists() and until.read_text().strip() else None
    record = path / "record"
    if not record.exists():
        return Folder(None, False, owner, end)
    lines = record.read_text().split("\n")
    parts = lines[0].split()
    if len(lines) != 4 or lines[2:] != ["end", ""] or len(parts) != 5:
        return Folder(None, True, owner, end)
    return Folder(Record(parts[1], parts[2], int(parts[3]), int(parts[4]), lines[1]), False, owner, end)
