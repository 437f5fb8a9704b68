"""Settings of what a host is asked before anything is installed on it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from steelyard.api.names import Address
from steelyard.api.settings import RoleSettings


class Settings(RoleSettings):
    """The floor that `steelyard preflight` measures hosts against."""

    section: ClassVar[str] = "preflight"
    cores: int = Field(8, ge=1, description="Processor cores.")
    memory_gb: float = Field(32, gt=0, description="Memory; GB.")
    storage_gb: float = Field(500, gt=0, description="Size of the file system that models lie on; GB.")
    free_gb: float = Field(100, gt=0, description="Of it free; GB.")
    ssd: bool = Field(True, description="Whether it must be on an SSD.")
    raid: Literal["raid0", "raid1", "raid4", "raid5", "raid6", "raid10"] | None = Field(
        None, description="Software RAID level that must be there."
    )
    disk_mb_s: float = Field(500, gt=0, description="Sequential read with O_DIRECT; MB/s.")
    disk_s: float = Field(3, gt=0, le=60, description="Seconds that the disk is read for.")
    link_gbit_s: float = Field(1, gt=0, description="Recommended rate between hosts; Gbit/s.")
    link_least_gbit_s: float = Field(0.1, gt=0, description="Least rate between hosts; Gbit/s.")
    rtt_ms: float = Field(1, gt=0, description="Recommended round trip between hosts; ms.")
    rtt_most_ms: float = Field(10, gt=0, description="Longest round trip between hosts; ms.")
    link_s: float = Field(2, gt=0, le=60, description="Seconds per link.")
    rounds: int = Field(
        7, ge=1, description="Rounds of links; a host is in one pair per round. All pairs of up to 8 hosts by default."
    )
    port: int = Field(5201, ge=1, le=65535, description="TCP port of iperf3 while a link is measured.")
    clock_s: float = Field(2, gt=0, description="How far a clock may be off; seconds.")
    resolve: tuple[Address, ...] = Field((), description="Names that every host must resolve.")
