"""An engine that restarts: beside a second one where it is alone and there is room, and with the seconds that clients
wait where there is none.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from steelyard.api.change import Change, Effect
from steelyard.api.turn import Return
from steelyard.modules.facts.unit import UnitState
from steelyard.modules.operations.replica import Replica, restart_of
from steelyard.modules.operations.unit import running_commands
from steelyard_host.wire.rollout import SwitchState
from steelyard_host.wire.services import ServiceState

UNIT = "steelyard-llamacpp@chat.service"
REPLICA = Replica("chat", UNIT, "/models", "gguf/chat", 0, 900, 60)
HOST = SwitchState(None, "/models/gguf/chat/v1", None, None, no_surge=None, start_s=41.5)
RUNS = UnitState("loaded", ServiceState.ACTIVE, "enabled", False, (), "c1", "/models/gguf/chat/v1")


def commands(replica: Replica, state: SwitchState | None, current: UnitState) -> list[Change]:
    restart = restart_of(replica, "/models/gguf/chat/v2", state)
    return [
        command
        for command in running_commands(UNIT, "c2", "/models/gguf/chat/v1", current, restart)
        if isinstance(command, Change)
    ]


def test_one_that_is_alone_restarts_beside_a_second_engine_where_there_is_room() -> None:
    [command] = commands(REPLICA, HOST, RUNS)
    assert (command.effect, command.outage_s) == (Effect.RESTART, 0.0)
    text = command.get_raw_value()
    assert "--unit=steelyard-restart-chat " in text
    assert text.endswith("surge-restart chat /models/gguf/chat/v2 900 60")
    assert "start-unit steelyard-llamacpp@chat--surge.service" in text, "who watches sees the second engine start"


@pytest.mark.parametrize(
    ("others", "state", "outage_s"),
    [
        (1, None, 0.0),
        (0, HOST._replace(no_surge="no GPU is free"), 41.5),
        (0, HOST._replace(no_surge="no GPU is free", start_s=None), None),
        (0, None, None),
    ],
)
def test_a_plain_restart_says_how_long_clients_wait(
    others: int, state: SwitchState | None, outage_s: float | None
) -> None:
    [command] = commands(REPLICA._replace(others=others), state, RUNS)
    assert (command.effect, command.outage_s) == (Effect.RESTART, outage_s)
    assert f"systemctl restart {UNIT}" in command.get_raw_value()


def test_a_start_that_runs_as_declared_is_waited_for_and_another_is_begun_anew() -> None:
    starts = replace(RUNS, active=ServiceState.ACTIVATING)
    [anew] = commands(REPLICA, HOST, starts)
    [same] = commands(REPLICA, HOST, replace(starts, config="c2"))
    [elsewhere] = commands(REPLICA, HOST, replace(starts, config="c2", mounted="/models/gguf/chat/v0"))
    for command, verb in ((anew, "restart"), (same, "start"), (elsewhere, "restart")):
        assert isinstance(command, Return), "it does not serve: nobody has to wait for its turn"
        assert command.effect is Effect.CHANGE
        assert f"systemctl {verb} {UNIT}" in command.get_raw_value()
