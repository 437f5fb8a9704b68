"""Settings of the mirror that packages come from."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from steelyard.api.names import Address, Folder
from steelyard.api.settings import RoleSettings


class Settings(RoleSettings):
    """The apt cache and the wheel index on the mirror host, and where clients find them."""

    section: ClassVar[str] = "package_mirror"
    address: Address | None = Field(
        None, description="Where clients reach the mirror; None: the first host of group `mirror`."
    )
    apt_port: int = Field(3142, ge=1, le=65535, description="Port of the apt cache.")
    wheels_port: int = Field(3143, ge=1, le=65535, description="Port of the wheel index.")
    wheels: Folder = Field(
        "/srv/steelyard/wheels", description="Folder on the mirror host with `files/*.whl` and `requirements.lock`."
    )
