"""Runs a guide as its reader would: in a clone of the repository, at a terminal, in a home of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from support.guide_text import Step
from support.lab_site import ROOT

from steelyard.lab.nspawn.record import Lab

HOME = Path.home()


@dataclass
class Reader:
    """One clone, one home. `said` is what each step printed, by the line at which it stands in its guide."""

    clone: Path
    home: Path
    said: dict[int, str] = field(default_factory=dict)

    def follow(self, steps: list[Step]) -> str:
        """Do every step; the answer is what the last one printed."""
        for step in steps:
            if step.file is not None:
                path = self.clone / step.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(step.text)
                continue
            code, self.said[step.line] = self.type(step.text)
            assert code in step.exits, (
                f"line {step.line} ended with {code}\n{step.text}\n{self.said[step.line][-4000:]}"
            )
        return self.said[step.line]

    def type(self, script: str) -> tuple[int, str]:
        """Exit code and output of commands at a terminal, where each question is answered with yes."""
        words = [sys.executable, str(Path(__file__).parent / "at_a_terminal.py"), script]
        done = subprocess.run(
            words,
            cwd=self.clone,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.returncode, done.stdout.decode(errors="replace").replace("\r\n", "\n")

    def _environment(self) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("SSH_AUTH", "XDG_", "STEELYARD_", "ANSIBLE_"))
        }
        pip = HOME / ".config/pip/pip.conf"  # the machine's own way to its packages
        own = {"PIP_CONFIG_FILE": str(pip)} if pip.is_file() else {}
        return {**kept, **own, "HOME": str(self.home), "PIP_CACHE_DIR": str(HOME / ".cache/pip"), "TERM": "dumb"}


def reader_of(lab: Lab, folder: Path) -> Reader:
    """A clone of what is checked out here, and the lab's key as the reader's own."""
    origin = folder / "origin"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, origin / name)
    git = ["git", "-c", "user.name=reader", "-c", "user.email=reader@lab.example", "-C", str(origin)]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "as it is"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run(["git", "clone", "-q", str(origin), str(folder / "steelyard")], check=True)
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    shutil.copy2(lab.paths.key, home / ".ssh/id_ed25519")
    return Reader(folder / "steelyard", home)


def collected_before(wheels: Path, target: Path) -> None:
    """As if an earlier `wheels collect` had been cut off after its last file: nothing is downloaded twice by tests."""
    (target / "files").mkdir(parents=True)
    for wheel in (wheels / "files").iterdir():
        try:
            os.link(wheel, target / "files" / wheel.name)
        except OSError:  # another file system
            shutil.copy2(wheel, target / "files" / wheel.name)
