"""What an operator may say about the one endpoint that clients use."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr

from steelyard.settings import RoleSettings


class Settings(RoleSettings):
    """Port, address and clients of the gateway."""

    section: ClassVar[str] = "gateway"
    port: int = Field(8080, ge=1, le=65535, description="TCP port of the OpenAI-compatible endpoint.")
    address: str | None = Field(None, description="Address clients use; None: the first host of group `gateway`.")
    clients: dict[str, SecretStr] = Field(default_factory=dict, description="Client name to its key; keys go into the vault.")
    healthy_s: int = Field(60, ge=0, description="Seconds `apply` waits until every service gives tokens to the gateway.")
    hold_s: int = Field(
        120,
        ge=0,
        le=3600,
        description="Seconds a request waits where no service of its alias is left, until one is back; 0: it fails at once.",
    )
    check_s: int = Field(5, ge=1, description="Seconds between two health checks; each asks an engine for a token.")
