"""Services of this host: a service's unit, its files and its kind of engine, by what its environment file declares.

A kind of engine that is added here has an OpenAI API on a unix socket, /health, and Prometheus counters at /metrics;
nothing more is asked of it.
"""

from __future__ import annotations

import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from steelyard_host import paths

SERVICES = Path(paths.SERVICES)
UNITS = Path("/etc/systemd/system")
TRIAL_UNITS = Path("/run/systemd/system")  # drop-ins that a reboot clears
SECOND = "--surge"  # behind the service's name: its second engine
ACCOUNT_DROP_IN = "30-account.conf"
ACCOUNT = "steelyard_"  # before the service's name, in which there is no `_`
ACCOUNT_LETTERS = 31  # that Linux and systemd take
DIGITS = 8  # of a hash, where a name is too long


class EngineTraits(NamedTuple):
    """A kind of engine, as far as the helper has to know it.

    `config`: suffix of a service's file of options; `counters`: the engine's own names to ours, which are vLLM's; one
    counter may stand for several.
    """

    name: str
    config: str
    counters: Mapping[str, tuple[str, ...]]


ENGINES = {
    "vllm": EngineTraits("vllm", ".yaml", {}),
    "llamacpp": EngineTraits(
        "llamacpp",
        ".json",
        {
            "requests_processing": ("num_requests_running",),
            "requests_deferred": ("num_requests_waiting",),
            "tokens_predicted_total": ("generation_tokens_total", "inter_token_latency_seconds_count"),
            "tokens_predicted_seconds_total": ("inter_token_latency_seconds_sum",),
        },
    ),
}


class HostService(NamedTuple):
    """A service of this host, or the second engine of one, as its environment file said when it was loaded.

    `declared`: STEELYARD_* of that file without the prefix; empty where this host has no such service.

    >>> HostService("chat", {"ENGINE": "/opt/steelyard/engines/vllm-0.32.0"}).unit
    'steelyard-vllm@chat.service'
    """

    name: str
    declared: Mapping[str, str]

    @classmethod
    def load(cls, name: str) -> HostService:
        """The service `name` as it is declared now; a second engine, `NAME--surge`, is declared as NAME is."""
        prefix = "STEELYARD_"
        try:
            # a value may hold what Python takes for a line's end, as U+2028; systemd does not
            lines = (SERVICES / (name.split("--")[0] + ".env")).read_text().split("\n")
        except OSError:
            return cls(name, {})
        pairs = (line[len(prefix) :].split("=", 1) for line in lines if line.startswith(prefix) and "=" in line)
        return cls(name, dict(pairs))

    @property
    def account(self) -> str:
        """The account that its engine runs as, and its second engine."""
        return account_of(self.name.split("--")[0])

    @property
    def second(self) -> HostService:
        """The second engine of the service, which a surge starts beside its own."""
        return HostService(self.name + SECOND, self.declared)

    @property
    def kind(self) -> EngineTraits:
        """The kind of its engine, by the environment that it starts from: `/opt/steelyard/engines/KIND-VERSION`.

        It is vLLM where nothing says otherwise.
        """
        return ENGINES.get(self.declared.get("ENGINE", "").rsplit("/", 1)[-1].split("-")[0], ENGINES["vllm"])

    @property
    def unit(self) -> str:
        """The name of its systemd unit."""
        return "steelyard-%s@%s.service" % (self.kind.name, self.name)

    @property
    def unit_file(self) -> Path:
        """The template unit that all services of this kind of engine share."""
        return UNITS / ("steelyard-%s@.service" % self.kind.name)

    @property
    def drop_ins(self) -> Path:
        """The folder of the unit's drop-ins on disk."""
        return UNITS / (self.unit + ".d")

    @property
    def trial_drop_ins(self) -> Path:
        """The folder of the unit's drop-ins that a reboot clears."""
        return TRIAL_UNITS / (self.unit + ".d")

    @property
    def account_file(self) -> Path:
        """The unit's drop-in that names its account; a release that had one for all engines wrote none."""
        return self.drop_ins / ACCOUNT_DROP_IN

    @property
    def config_file(self) -> Path:
        """The engine's options, as the service's role wrote them."""
        return SERVICES / (self.name + self.kind.config)

    @property
    def socket(self) -> str:
        """The unix socket on which its engine serves HTTP."""
        return paths.engine_socket(self.name)

    @property
    def model_mount(self) -> str:
        """The path at which its engine sees the model, whatever version that is."""
        return paths.model_mount(self.name)

    @property
    def is_lazy(self) -> bool:
        """Whether its first request starts it, and it stops when nobody asks."""
        return self.declared.get("LOAD") == "lazy"


def account_of(service: str) -> str:
    """The account of a service's engine: no other service has it, and it is the same on every host.

    >>> account_of("chat")
    'steelyard_chat'
    """
    room = ACCOUNT_LETTERS - len(ACCOUNT)
    if len(service) <= room:
        return ACCOUNT + service
    import hashlib  # few services have such a name, and every command of the helper loads this file

    return "%s%s_%s" % (
        ACCOUNT,
        service[: room - DIGITS - 1],
        hashlib.sha256(service.encode()).hexdigest()[:DIGITS],
    )


def services_with_accounts() -> dict[str, str]:
    """Services that have an account here, with its name; that of one with a long name is known by its home."""
    accounts = {}
    for account in pwd.getpwall():
        home = Path(account.pw_dir)
        if str(home.parent) == paths.CACHES and account.pw_name == account_of(home.name):
            accounts[home.name] = account.pw_name
    return accounts


def is_engine(unit: str) -> bool:
    """Whether a unit is that of a service, of any kind of engine."""
    return unit.startswith(tuple("steelyard-%s@" % name for name in ENGINES))


def services() -> list[HostService]:
    """Every service that this host declares, by name."""
    return [HostService.load(path.stem) for path in sorted(SERVICES.glob("*.env"))]


def engine_units() -> dict[str, str]:
    """Every engine's unit that was ever set up here, with its service's name.

    A service that had another engine before has more than one.
    """
    folders = (path.parent.name[:-2] for path in sorted(UNITS.glob("steelyard-*@*.service.d/50-version.conf")))
    return {unit: unit.split("@", 1)[1][: -len(".service")] for unit in folders}
