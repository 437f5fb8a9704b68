"""Installing the engine: exactly the offered lock, from scratch, marked last; refused where no mirror answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from steelyard.api.change import Refusal
from steelyard.modules.facts.engine import EngineState, OfferedLock
from steelyard.modules.operations import engine

OFFERED = OfferedLock("abc", 148)
WORDS = ("/opt/e", "http://m:3143/simple/", "http://m:3143/requirements.lock")


def test_environment_of_the_offered_lock_is_left_alone() -> None:
    assert engine.venv_commands(*WORDS, OFFERED, EngineState("abc", 149)) == []


def test_another_lock_or_a_lost_distribution_means_from_scratch() -> None:
    for now in (EngineState("old", 148), EngineState("abc", 147), EngineState(None, 60)):
        commands = [command.get_masked_value() for command in engine.venv_commands(*WORDS, OFFERED, now)]
        assert commands[0] == "rm -rf /opt/e && python3 -m venv /opt/e"
        assert "--require-hashes" in commands[2]
        assert "--isolated" in commands[2]
        assert commands[-1] == "sync -f /opt/e && mv -T /opt/e/.lock.new /opt/e/.steelyard-lock && sync /opt/e"


def test_silent_mirror_is_refused_while_applying() -> None:
    with patch.object(engine, "host") as host, patch.object(engine, "state") as state:
        host.get_fact.side_effect = [OfferedLock(None), EngineState(None, 0)]
        state.is_executing = True
        commands: list[Any] = list(engine.venv._inner(*WORDS))  # type: ignore[attr-defined]
    assert [type(command) for command in commands] == [Refusal]


def test_no_code_of_a_wheel_runs_while_it_is_installed(tmp_path: Path) -> None:
    """Root compiles what a mirror gave; a .pth file is run by every Python that starts with its site."""
    folder = tmp_path / "engine"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "module.py").write_text("ANSWER = 42\n")
    (site / "wheel.pth").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    commands = engine.venv_commands(str(folder), *WORDS[1:], OFFERED, EngineState(None, 0))
    compiling = next(text for command in commands if "compileall" in (text := command.get_masked_value()))
    subprocess.run(["sh", "-c", compiling], check=True)
    assert list(site.glob("__pycache__/module.*.pyc"))
    assert not (tmp_path / "ran").exists()
    subprocess.run([folder / "bin/python", "-c", ""], check=True)
    assert (tmp_path / "ran").exists(), "the file is one that Python would run"
