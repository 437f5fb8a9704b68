"""States that an older double kept: what they do not say is filled in, so that an upgrade forgets nothing."""

from __future__ import annotations

from .json_object import State


def take_over(state: State, fresh: State) -> None:
    """Fill up a state in place: parts that are not there, the owner's role, packages of what is installed. Tasks and
    documents of that time are not known any more.
    """
    forgotten = "packages" not in state
    for name, value in fresh.items():
        state.setdefault(name, value)
    owner = state["admin"]
    if owner is not None and "role" not in owner:
        owner |= {"role": "owner", "at": 0}
    state["tasks"] = [task for task in state["tasks"] if "kind" in task]
    for dataset in state["datasets"].values():
        if not isinstance(dataset.get("documents"), dict):
            dataset["documents"] = {}
    if forgotten:
        state["packages"] = [installation["unique"] for installation in state["plugins"].values()]
