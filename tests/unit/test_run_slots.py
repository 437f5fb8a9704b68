"""What operations leave for each other lies with its run, and is gone with it."""

from __future__ import annotations

from typing import Any

from pyinfra.context import ctx_state, state

from steelyard.api.barrier import barriers_of, declare_barrier


class Run:
    """A run whose hash another one has too, as one has that is made where an earlier one was."""

    def __hash__(self) -> int:
        return 1


def test_a_run_does_not_find_what_another_one_left() -> None:
    first, second = Run(), Run()
    given: Any = first
    with ctx_state.use(given):
        declare_barrier(state, "met")
        assert barriers_of(state) == {"met"}
    assert barriers_of(given) == {"met"}, "the same run, by its own name"
    given = second
    with ctx_state.use(given):
        assert barriers_of(state) == set()
