"""Operations say what their commands do to what serves: a plan marks and counts it, and leaves the rest plain."""

from __future__ import annotations

from steelyard.api.change import Effect
from steelyard.engine.plan import PlannedCommand, shown_command
from steelyard.modules.facts.apt import AptSolution
from steelyard.modules.facts.driver import DriverState, NvidiaDevice
from steelyard.modules.facts.engine import EngineState, OfferedLock
from steelyard.modules.facts.unit import UnitState
from steelyard.modules.operations.apt import pinned_commands
from steelyard.modules.operations.driver import activation
from steelyard.modules.operations.engine import venv_commands
from steelyard.modules.operations.unit import on_demand_commands, reload_command
from steelyard_host.wire.services import ServiceState

NEXT = "590.1"


def effects(commands: list[object]) -> list[tuple[Effect, float | None]]:
    """Of commands as a plan has them."""
    planned: list[PlannedCommand] = [shown_command(command) for command in commands]  # type: ignore[arg-type]
    return [(command.effect, command.outage_s) for command in planned]


def driver(restart: str, loaded: str | None = "580.1") -> list[tuple[Effect, float | None]]:
    gpu = NvidiaDevice("0000:01:00.0", 0x2330)
    state = DriverState(loaded=loaded, on_disk=NEXT, devices=(gpu,))
    return effects(activation(NEXT, restart, ("engine.service",), 60, state))


def test_a_reboot_and_what_is_drained_for_it_are_restarts_of_unknown_length() -> None:
    assert driver("reboot") == [(Effect.RESTART, None), (Effect.RESTART, None), (Effect.CHANGE, 0.0)]


def test_a_driver_that_is_reloaded_is_a_restart_and_one_that_is_loaded_is_none() -> None:
    assert driver("reload") == [(Effect.RESTART, None)]
    assert driver("reload", loaded=None) == [(Effect.CHANGE, 0.0)]


def test_packages_that_make_others_go_are_a_removal() -> None:
    gone = effects(list(pinned_commands({"new": "1"}, {}, AptSolution(removes=("old",)))))
    assert gone == [(Effect.REMOVAL, 0.0)]
    assert effects(list(pinned_commands({"new": "1"}, {}, AptSolution()))) == [(Effect.CHANGE, 0.0)]


def test_an_environment_that_stands_in_for_another_is_a_removal_and_a_first_one_is_none() -> None:
    def marks(lock: str | None) -> set[Effect]:
        wheels = venv_commands("/opt/e", "http://m/x", "http://m/lock", OfferedLock("new", 9), EngineState(lock, 9))
        return {effect for effect, _ in effects(list(wheels))}

    assert marks("old") == {Effect.REMOVAL, Effect.CHANGE}
    assert marks(None) == {Effect.CHANGE}


def test_a_lazy_engine_that_serves_is_restarted_and_one_that_rests_is_not() -> None:
    def of(active: ServiceState, enabled: str = "disabled") -> list[tuple[Effect, float | None]]:
        state = UnitState("loaded", active, enabled, False, config="another", mounted="/m/v1")
        return effects(list(on_demand_commands("tiny", "e@tiny.service", "declared", "/m/v1", 5, state)))

    assert of(ServiceState.ACTIVE) == [(Effect.RESTART, None)]
    assert of(ServiceState.INACTIVE, "enabled") == [(Effect.CHANGE, 0.0), (Effect.CHANGE, 0.0)]


def test_a_reload_that_takes_gpus_away_from_containers_stops_them() -> None:
    assert effects([reload_command("docker.service", "; takes the GPUs away from x")]) == [(Effect.STOP, 0.0)]
    assert effects([reload_command("docker.service", "")]) == [(Effect.CHANGE, 0.0)]
