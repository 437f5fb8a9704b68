"""A running HAProxy as declared: it serves with the configuration that is declared now, and reloads without a pause."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from steelyard.api.change import Change
from steelyard.api.fact_cache import invalidate_facts
from steelyard.api.task_group import is_lost
from steelyard.artifacts.helper import RUN_HELPER
from steelyard.modules.facts.helper import helper_fact
from steelyard_host.wire.services import ProxyState

NOTHING: Mapping[str, tuple[str, ...]] = {}


@operation()
def serving(unit: str, socket: str, config: str) -> Generator[StringCommand, None, None]:
    """HAProxy, asked over its admin socket, has loaded the configuration stamped `config`; else it reloads.

    The reload is checked: a configuration that HAProxy refuses leaves the old one serving, and this fails.
    """
    current = helper_fact(host, ProxyState, "haproxy", socket)
    live = current.config if current is not None else None
    if live == config:
        host.noop(f"{unit} has loaded configuration {config}")
        return
    asked = StringCommand(RUN_HELPER, "haproxy", QuoteString(socket), "| grep -q", QuoteString(f'"config": "{config}"'))
    tries = StringCommand("for n in 1 2 3 4 5 6 7 8 9 10; do", asked, "&& exit 0; sleep 0.3; done; exit 1")
    name = QuoteString(unit)
    # just started with this configuration: nothing to do; else reload and see that it took effect
    bits = ["if", asked, "; then exit 0; fi; systemctl reload", name, "&& {", tries, "; }"]
    shown = live if live else "none"
    yield Change(*bits, subject=unit, declared=f"configuration {config} loaded", live=f"configuration {shown} loaded")


Server = tuple[str, str, str]  # `backend/server`, the host of its service, and the group of the service's tasks


@operation()
def healthy(
    socket: str, servers: tuple[Server, ...], wait_s: int, depends_on: Mapping[str, tuple[str, ...]] = NOTHING
) -> Generator[StringCommand, None, None]:
    """HAProxy sees each of `servers` UP: it gives tokens. Waits for them together; fails where one gives none.

    A service whose host or tasks failed in this run is told of there, and not waited for. `depends_on`: by
    `backend/server`, the things of any host without which it is not UP.
    """
    if state.is_executing:  # engines may have been restarted on other hosts since the plan looked
        invalidate_facts(host)
    current = helper_fact(host, ProxyState, "haproxy", socket)
    states = current.servers if current is not None else {}
    down = [server for server in servers if not states.get(server[0], "").startswith("UP")]
    awaited = [name for name, of_host, group in down if not is_lost(state, of_host, group)]
    if not down:
        host.noop("every service gives tokens")
    elif not awaited:
        host.noop(f"failed in this run, and not waited for: {', '.join(name for name, *_ in down)}")
    for some in [awaited] if state.is_executing and awaited else [[name] for name in awaited]:
        names, live = [QuoteString(name) for name in some], [states.get(name, "unknown") for name in some]
        wait = [RUN_HELPER, "haproxy-wait", QuoteString(socket), str(wait_s), *names, ">&2"]
        needs = tuple(need for name in some for need in depends_on.get(name, ()))
        yield Change(*wait, subject=", ".join(some), declared="UP", live=", ".join(live), depends_on=needs)


@operation()
def weighted(socket: str, weights: tuple[tuple[str, int], ...]) -> Generator[StringCommand, None, None]:
    """Each of (`backend/server`, weight) has that weight now: one that a canary was given, and nobody took back, is
    seen.
    """
    current = helper_fact(host, ProxyState, "haproxy", socket)
    live = current.weights if current is not None else {}
    off = [(name, weight) for name, weight in weights if live.get(name, weight) != weight]
    if not off:
        host.noop("weights are as declared")
    for name, weight in off:
        argv = [RUN_HELPER, "haproxy-weigh", QuoteString(socket), QuoteString(f"{name}={weight}"), ">&2"]
        yield Change(*argv, subject=name, declared=f"weight {weight}", live=f"weight {live[name]}")
