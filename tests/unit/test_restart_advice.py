"""What a plan advises about engines that it restarts: who waits how long, and how nobody would."""

from __future__ import annotations

import pytest

from steelyard.api.change import Effect
from steelyard.engine.plan import PlannedCommand
from steelyard.workflows.restarts import moves, waits

UNIT = "steelyard-vllm@chat.service"


def restart(declared: str = "started with the declared configuration", outage_s: float | None = 0.0) -> PlannedCommand:
    return PlannedCommand("x", UNIT, declared, "another", effect=Effect.RESTART, outage_s=outage_s)


@pytest.mark.parametrize(
    "declared", ["serving /models/llm/chat/v2", "serving /models/llm/chat/v2, a second engine meanwhile"]
)
def test_another_version_by_a_restart_points_at_rollout(declared: str) -> None:
    [advice] = moves([("gpu-1", restart(declared))])
    assert advice.fix.startswith("`steelyard rollout chat v2` ")
    assert moves([("gpu-1", restart())]) == []


@pytest.mark.parametrize(
    ("outage_s", "hold_s", "holds"),
    [
        (40.0, 120, None),
        (80.0, 120, None),
        (100.0, 120, "--hold 150"),
        (None, 120, "--hold SECONDS"),
        (5.0, 0, "--hold 8"),
    ],
)
def test_one_that_is_alone_says_how_long_requests_wait_and_what_to_do_where_they_cannot(
    outage_s: float | None, hold_s: int, holds: str | None
) -> None:
    [advice] = waits([("gpu-1", restart(outage_s=outage_s))], hold_s)
    assert advice.text.startswith("nobody else serves chat while it restarts")
    assert ("never seen" in advice.text) == (outage_s is None)
    assert ("--hold" in advice.fix) == (holds is not None)
    assert holds is None or f"`steelyard apply {holds}`" in advice.fix


def test_who_has_other_replicas_or_room_for_a_second_engine_needs_no_advice() -> None:
    assert waits([("gpu-1", restart()), ("gpu-2", restart())], 0) == []
