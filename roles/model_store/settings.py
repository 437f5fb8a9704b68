"""Settings of the folder that holds the weights; which weights is said in models.yml."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from steelyard.api.names import PublicKey
from steelyard.api.settings import RoleSettings


class Settings(RoleSettings):
    """Group that may enter the model root, and keys whose versions may come into it."""

    section: ClassVar[str] = "model_store"
    mode: str = Field("0755", pattern=r"^0[0-7]{3}$", description="Permissions of the model root; octal.")
    lock_gib: int = Field(
        0,
        ge=0,
        description=(
            "Memory in which served versions are locked, so that a restart is always warm; who was not started "
            "for longest goes first; GiB, 0: none."
        ),
    )
    trusted_keys: tuple[PublicKey, ...] = Field(
        (),
        description=(
            "SSH public keys whose signature a version needs (`models sign`); none: versions need no signature."
        ),
    )
