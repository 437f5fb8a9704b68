"""Cases of errors that end a rollout before it begins; the hosts' answers are given."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fix_case import Attempt, mends, printed
from test_settings import MODELS, fleet_with

from steelyard import errors
from steelyard.errors import SteelyardError
from steelyard.inventory.read import read_fleet
from steelyard.models.content.manifest import Manifest, ManifestFile, ManifestTensor
from steelyard.rollout.request import parse_canary
from steelyard.rollout.strategy import Prediction, parse_strategy
from steelyard.site.resolve import site_of
from steelyard.workflows.rollout import prediction
from steelyard_host.wire.rollout import SwitchState

V1, V2 = "/models/llm/tiny/v1", "/models/llm/tiny/v2"
START = SwitchState(V1, V1, None, None, None, None, start_s=9.0, weights_s=1.0)
ONE_HOST = MODELS.replace("hosts: gpu", "hosts: g1")
GATEWAY = "all: {children: {gpu: {hosts: {g1: }}, gateway: {hosts: {gw: }}, mirror: {hosts: {m1: }}}}\n"


@dataclass
class Hosts:
    """What hosts answer, and how a rollout of `tiny` from v1 to v2 is asked for."""

    folder: Path
    strategy: str = "auto"
    state: SwitchState = START
    same_config: bool = True

    def manifest(self, host: str, version: str) -> Manifest:
        config = "c" if self.same_config or version == "v1" else "d"
        files = {
            "model.safetensors": ManifestFile(8, version, version, ()),
            "config.json": ManifestFile(2, config, config, ()),
        }
        tensor = ManifestTensor("BF16", (2, 2), 0, 0, version)
        return Manifest.of(files, {"model.safetensors": {"w": tensor}})

    def predict(self) -> dict[str, Prediction]:
        fleet = read_fleet(self.folder)
        services = prediction.services_of(site_of(fleet), "tiny", self.folder)
        states = {service.host: self.state for service in services}
        asked, helpers = parse_strategy(self.strategy), _Helpers(self)
        return prediction.predict(asked, fleet, services, len(services) - 1, V2, states, helpers, lambda event: None)


class _Helpers(prediction.HostHelpers):
    def __init__(self, hosts: Hosts) -> None:
        self._answers = hosts

    def manifest(self, host: str, version: str) -> Manifest:
        return self._answers.manifest(host, version)


def one_host(tmp: Path, **answers: Any) -> Hosts:
    fleet_with(tmp, ONE_HOST)
    (tmp / "hosts.yml").write_text(GATEWAY)
    return Hosts(tmp, **answers)


def takes_strategy(hosts: Hosts, error: SteelyardError) -> None:
    hosts.strategy = printed(error, "--strategy")[1]


@mends(errors.AliasUnknown)
def alias_unknown(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    site, name = site_of(read_fleet(fleet_with(tmp))), ["tyni"]
    error = yield lambda: prediction.services_of(site, name[0], tmp)
    name[:] = printed(error, "tiny")


@mends(errors.StrategyUnknown)
def strategy_unknown(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    name = ["quickly"]
    error = yield lambda: parse_strategy(name[0])
    name[0] = error.remedy.removeprefix("give one of ").split(",")[0]


@mends(errors.CanaryShareWrong)
def canary_share(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    share = ["80%"]
    error = yield lambda: parse_canary(share[0], None)
    share[0] = re.findall(r"\d+%", error.remedy)[-1]


@mends(errors.CanaryAlone)
def canary_alone(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    canary: list[float | None] = [0.1]
    error = yield lambda: prediction.refuse_lone_canary("tiny", 1, canary[0])
    assert "leave `--canary` out" in error.remedy
    canary[0] = None


@mends(errors.NotInPlace)
def not_in_place(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    hosts = one_host(tmp, strategy="reload", same_config=False)
    takes_strategy(hosts, (yield hosts.predict))


@mends(errors.NoSecondEngine)
def no_second_engine(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    hosts = one_host(tmp, strategy="surge")
    hosts.state = hosts.state._replace(no_surge="a second engine needs 1 GPUs, and 0 are free")
    takes_strategy(hosts, (yield hosts.predict))


@mends(errors.NoSleepingEngine)
def no_sleeping_engine(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    hosts = one_host(tmp, strategy="sleep-swap")
    hosts.state = hosts.state._replace(no_sleep="its engine has no sleep mode")
    takes_strategy(hosts, (yield hosts.predict))


@mends(errors.WaitTooLong)
def wait_too_long(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    hosts = one_host(tmp, strategy="swap")
    hosts.state = hosts.state._replace(start_s=300.0)
    error = yield hosts.predict
    key, seconds = printed(error, "gateway.hold_s:")
    (tmp / "group_vars" / "all" / "roles.yml").write_text(f"gateway: {{{key.split('.')[1]} {seconds}}}\n")


@mends(errors.VariantNotSwitched)
def variant_not_switched(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    """What its fix does with three commands is that the service is no longer moved by a rollout."""
    hosts = one_host(tmp)
    models = tmp / "group_vars" / "all" / "models.yml"
    models.write_text(ONE_HOST.replace("port: 8000", "port: 8000\n      load_strategy: sharded"))
    error = yield hosts.predict
    assert "`steelyard models push`, `models shard`, and `steelyard apply`" in error.remedy
    models.write_text(ONE_HOST)
