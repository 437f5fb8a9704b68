"""A running HAProxy as declared: it serves with the configuration that is declared now, and reloads without a pause."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from steelyard.change import Change
from steelyard.host_helper import RUN_HELPER
from steelyard.look_again import look_again
from steelyard.modules.facts.helper import HelperAnswer


@operation()
def serving(unit: str, socket: str, config: str) -> Generator[StringCommand, None, None]:
    """HAProxy, asked over its admin socket, has loaded the configuration stamped `config`; else it reloads.

    The reload is checked: a configuration that HAProxy refuses leaves the old one serving, and this fails.
    """
    now = host.get_fact(HelperAnswer, words=("haproxy", socket))
    live = (now or {}).get("config")
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


@operation()
def healthy(socket: str, servers: tuple[str, ...], wait_s: int) -> Generator[StringCommand, None, None]:
    """HAProxy sees each of `servers` (`backend/server`) UP: it gives tokens. Waits for them; fails where one gives none."""
    if state.is_executing:  # engines may have been restarted on other hosts since the plan looked
        look_again(host)
    states = (host.get_fact(HelperAnswer, words=("haproxy", socket)) or {}).get("servers", {})
    down = [server for server in servers if not states.get(server, "").startswith("UP")]
    if not down:
        host.noop("every service gives tokens")
    for server in down:
        wait = [RUN_HELPER, "haproxy-wait", QuoteString(socket), str(wait_s), QuoteString(server), ">&2"]
        yield Change(*wait, subject=server, declared="UP", live=states.get(server, "unknown"))


@operation()
def weighted(socket: str, weights: tuple[tuple[str, int], ...]) -> Generator[StringCommand, None, None]:
    """Each of (`backend/server`, weight) has that weight now: one that a canary was given, and nobody took back, is seen."""
    now = (host.get_fact(HelperAnswer, words=("haproxy", socket)) or {}).get("weights", {})
    off = [(name, weight) for name, weight in weights if name in now and now[name] != weight]
    if not off:
        host.noop("weights are as declared")
    for name, weight in off:
        words = [RUN_HELPER, "haproxy-weigh", QuoteString(socket), QuoteString(f"{name}={weight}"), ">&2"]
        yield Change(*words, subject=name, declared=f"weight {weight}", live=f"weight {now[name]}")
