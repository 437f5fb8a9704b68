"""Installing the engine: exactly the offered lock, from scratch, marked last; refused where no mirror answers."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from steelyard.modules.facts.engine import EngineState, OfferedLock
from steelyard.modules.operations import engine
from steelyard.refusal import Refusal

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
        assert commands[-1] == "mv -T /opt/e/.lock.new /opt/e/.steelyard-lock"


def test_silent_mirror_is_refused_while_applying() -> None:
    with patch.object(engine, "host") as host, patch.object(engine, "state") as state:
        host.get_fact.side_effect = [OfferedLock(None), EngineState(None, 0)]
        state.is_executing = True
        commands: list[Any] = list(engine.venv._inner(*WORDS))  # type: ignore[attr-defined]
    assert [type(command) for command in commands] == [Refusal]
