"""Description of a lab: hosts by name, each with groups, a Debian release, and what it may reach.

The committed description is `lab.yml` beside this file; `hosts_of` cuts it to the number asked for.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from steelyard.api.file_syntax import read_yaml
from steelyard.errors import LabDescriptionWrong

DESCRIPTION = Path(__file__).parent.parent / "lab.yml"


class SimulatedGpus(BaseModel):
    """The GPUs a host pretends to have; read by our own libnvidia-ml.so.1 from a file on the host."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    count: int = Field(ge=1, le=16, description="Number of GPUs.")
    model: str = Field("NVIDIA H100 80GB HBM3", description="Name; shown with `simulated GPU` before it.")
    memory_mib: int = Field(81559, description="Memory per GPU; MiB.")
    driver: str = Field("580.95.05", description="Driver that is there and loaded; empty: packages bring it.")
    faults: tuple[str, ...] = Field((), description="As in nvml_simulated.c: `lost:INDEX`, `ecc:INDEX=COUNT`, ...")


class LabHost(BaseModel):
    """One machine of the lab."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$", description="Host name.")
    groups: tuple[str, ...] = Field(description="Inventory groups it is in.")
    release: str = Field("bookworm", pattern=r"^(bookworm|trixie)$", description="Debian release of its base.")
    routed: bool = Field(False, description="May reach the internet; only the mirror does.")
    docker: bool = Field(False, description="Gets what dockerd inside needs.")
    gpus: SimulatedGpus | None = Field(None, description="Simulated GPUs.")
    nvidia_repository: bool = Field(False, description="Serves the simulated repository of NVIDIA's packages.")
    layer: str | None = Field(None, description="Saved upper layer to start from, where there is one.")
    binds: dict[str, str] = Field(default_factory=dict, description="Path inside to folder of the lab's cache.")


def hosts_of(count: int, description: Path = DESCRIPTION) -> list[LabHost]:
    """The first `count` hosts: those listed by name, then copies of the last one with a rising number.

    Raises FileSyntaxWrong, LabDescriptionWrong.
    """
    declared = _declared(description)
    hosts = declared[:count]
    last = declared[-1]
    stem, number = last.name.rsplit("-", 1)
    for extra in range(count - len(hosts)):
        hosts.append(last.model_copy(update={"name": f"{stem}-{int(number) + extra + 1}"}))
    return hosts


def _declared(description: Path) -> list[LabHost]:
    try:
        document = read_yaml(description)
    except OSError as error:
        raise LabDescriptionWrong(where=str(description), why=error.strerror or str(error)) from error
    entries = document.get("hosts") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise LabDescriptionWrong(where=str(description), why="it has no list `hosts`")
    hosts = []
    for number, entry in enumerate(entries):
        try:
            hosts.append(LabHost.model_validate(entry))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(["hosts", str(number), *map(str, first["loc"])])
            raise LabDescriptionWrong(where=str(description), why=f"`{key}`: {first['msg']}") from error
    return hosts
