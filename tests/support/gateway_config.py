"""The gateway's own configuration, as its role writes it, in a folder: for the real HAProxy on this machine."""

from __future__ import annotations

from pathlib import Path

from steelyard.api.template import render
from steelyard.roles import gateway
from steelyard.roles.gateway.answers import GatewayAnswers, gateway_errors
from steelyard.roles.gateway.clients import key_lines
from steelyard.roles.gateway.config import backends, limit_lines, model_list
from steelyard.roles.gateway.settings import Settings
from steelyard.serving.key_ends import NEVER
from steelyard.site.site import Service, backend_name

TEMPLATE = Path(gateway.__file__).parent / "templates/haproxy.cfg.j2"


def gateway_config(
    folder: Path, aliases: dict[str, tuple[Service, ...]], wanted: Settings, hosts: list[str], socket: str = ""
) -> Path:
    """The configuration's path; its maps lie beside it. `hosts`: the first three are gateways."""
    texts = {
        "keys": key_lines(wanted.clients),
        "ends": "",
        "engine": "".join(f"{backend_name(alias)} Bearer key-of-{alias}\n" for alias in aliases),
        "models": f"list {model_list(aliases)}\n",
        "alias": "".join(f"{alias} {backend_name(alias)}\n" for alias in aliases),
        "per-minute": limit_lines(wanted.limits, "per_minute"),
        "at-once": limit_lines(wanted.limits, "at_once"),
    }
    for name, text in texts.items():
        (folder / f"steelyard-{name}.map").write_text(text)
    config = render(
        TEMPLATE,
        stamp="0123",
        wanted=wanted,
        folder=str(folder),
        socket=socket or "/run/haproxy/admin.sock",
        again=str(folder / "again.sock"),
        with_key=True,
        never=NEVER,
        answers=GatewayAnswers.of(wanted.body_mib),
        errors=gateway_errors(wanted.hold_s),
        backends=backends(aliases),
        name=hosts[0],
        gateways=[(name, f"192.0.2.{number}") for number, name in enumerate(hosts[:3], start=1)],
    )
    path = folder / "haproxy.cfg"
    # accounts that this machine may lack
    ours = ("    user haproxy\n", "    group haproxy\n", " user haproxy group haproxy")
    for words in ours:
        config = config.replace(words, "")
    path.write_text(config)
    return path
