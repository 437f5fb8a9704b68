"""Slots in which operations, the connector and the engine leave for each other in one run: one typed object per run and
class.

pyinfra's State is the run; nothing is written on it, so plain pyinfra works the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from pyinfra.api.state import State

Slot = TypeVar("Slot")
_SLOTS: WeakKeyDictionary[State, dict[type[Any], Any]] = WeakKeyDictionary()


def run_slot(state: State, kind: type[Slot]) -> Slot:
    """Return the run's only object of this class, made without arguments when it is first asked for."""
    slots = _SLOTS.setdefault(_run_of(state), {})
    if kind not in slots:
        slots[kind] = kind()
    slot: Slot = slots[kind]
    return slot


def clear_slots(state: State) -> None:
    """Forget a run that has ended: what lies in its slots may lead back to it, and would keep it."""
    _SLOTS.pop(_run_of(state), None)


def _run_of(state: State) -> State:
    """The run itself. Operations hold pyinfra's stand-in for the current one, which outlives every run and hashes as
    one after the other does: a later run would find what an earlier one left.
    """
    from pyinfra.context import ContextObject

    run: State = state._get_module() if isinstance(state, ContextObject) else state  # type: ignore[no-untyped-call]
    return run


class OurEngine:
    """True where our engine executes the run; plain pyinfra has never set it."""

    executes = False
