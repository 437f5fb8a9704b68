"""A service has GPUs of its own, by UUID, and its unit may open their device nodes."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.change import Change
from steelyard.gpus.placing import Need, NoPlace, place
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.modules.facts.unit import Unit
from steelyard.refusal import Refusal
from steelyard.unknowns import declare_unknown

from .path import absent, content


@operation()
def placeable(service: str, needs: tuple[dict[str, object], ...]) -> Generator[StringCommand, None, None]:
    """Changes nothing: the host has the GPUs that `placed` will give, before anything of the service is touched."""
    now = host.get_fact(HelperAnswer, words=("memory",))
    if now is not None and _uuids(now):
        try:
            _places(now, needs)
        except NoPlace as error:
            yield Refusal(str(error))
            return
    host.noop(f"there are GPUs for {service}")


def _uuids(memory: dict[str, Any]) -> list[str]:
    return [device["uuid"] for device in memory["devices"] if device.get("uuid")]


def _places(memory: dict[str, Any], needs: tuple[dict[str, object], ...]) -> dict[str, tuple[str, ...]]:
    return place([Need(**need) for need in needs], _uuids(memory), memory["held"])  # type: ignore[arg-type]


@operation()
def placed(
    service: str, unit: str, needs: tuple[dict[str, object], ...], path: str, template: str
) -> Generator[StringCommand, None, None]:
    """The drop-in at `path` names the service's GPUs; on a host without GPUs there is none. A running engine stops to get others.

    `needs` are `Need`s of all services of the host, as dictionaries; `template` has `{uuids}`.
    """
    now = host.get_fact(HelperAnswer, words=("memory",))
    if now is None:
        declare_unknown(
            f"the GPUs of {service}", because="the helper does not answer yet", settled_by="the same task, during apply"
        )
        return
    if not _uuids(now):
        yield from _kept_or_absent(service, path, any(entry["kind"] == "gpu" for entry in now["pci"]))
        return
    try:
        mine = _places(now, needs)[service]
    except NoPlace as error:
        yield Refusal(str(error))
        return
    yield from content._inner(path=path, content=template.replace("{uuids}", ",".join(mine)))
    if tuple(now["held"].get(service, ())) != mine and host.get_fact(Unit, unit=unit, mount="").active == "active":
        name = QuoteString(unit)
        yield Change("systemctl stop", name, subject=unit, declared=f"on {', '.join(mine)}", live="on others")


def _kept_or_absent(service: str, path: str, has_some: bool) -> Generator[StringCommand, None, None]:
    if has_some:  # their driver is not loaded yet: what is written stays
        declare_unknown(f"the GPUs of {service}", because="they do not answer yet", settled_by="the next plan")
        host.noop("its GPUs do not answer yet; what is written stays")
        return
    yield from absent._inner(path=path)
