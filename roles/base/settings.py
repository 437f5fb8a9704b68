"""Settings of the ground every other role stands on."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from steelyard.api.settings import RoleSettings


class Settings(RoleSettings):
    """Service accounts, folders, limits and the host helper."""

    section: ClassVar[str] = "base"
    engine_user: str = Field(
        "steelyard-engine",
        pattern=r"^[a-z][a-z0-9-]{0,30}$",
        description="Account of the proxies that pass requests to engines; each engine has one of its own.",
    )
    front_user: str = Field(
        "steelyard-front", pattern=r"^[a-z][a-z0-9-]{0,30}$", description="Account of the host's proxy."
    )
    open_files: int = Field(1048576, ge=1024, description="Open files a login or service may have (hard limit).")
