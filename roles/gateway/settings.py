"""Settings of the one endpoint that clients use."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from steelyard.api.names import Address, ClientName, Interface, Network
from steelyard.api.settings import RoleSettings

from .clients import DeclaredClient, twice


class ClientLimit(BaseModel):
    """Limits of one client; more is answered with 429."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    per_minute: int | None = Field(None, ge=1, description="Requests in any 60 seconds; None: as many as it likes.")
    at_once: int | None = Field(None, ge=1, description="Requests at the same time; None: as many as it likes.")


class Settings(RoleSettings):
    """Port, address and clients of the gateway."""

    section: ClassVar[str] = "gateway"
    port: int = Field(8080, ge=1, le=65535, description="TCP port of the OpenAI-compatible endpoint.")
    address: Address | None = Field(
        None, description="Address clients use; None: the shared one, or else the first host of group `gateway`."
    )
    shared_address: Network | None = Field(
        None,
        description=(
            "Address, with its prefix length, that the hosts of group `gateway` hold in turn (VRRP): one is "
            "enough for all clients."
        ),
    )
    interface: Interface | None = Field(
        None, description="Interface that gets the shared address; None: the one with the host's own address."
    )
    router_id: int = Field(
        51, ge=1, le=255, description="VRRP's number of this pair; another in the same network has another."
    )
    tls_pem: SecretStr | None = Field(
        None, description="Certificate, its chain and its key as one PEM text, in the vault; None: HTTP without TLS."
    )
    clients: dict[ClientName, DeclaredClient] = Field(
        default_factory=dict,
        description=(
            "Client name to its key, or to `keys`: several that are valid at once, each until its end. Keys go into "
            "the vault."
        ),
    )
    limits: dict[ClientName, ClientLimit] = Field(
        default_factory=dict, description="Client name to what it may ask for."
    )
    per_address: int | None = Field(
        1000,
        ge=1,
        le=2000,
        description=(
            "Connections that one address may hold at the same time, of 2,000 that there are; None: all of them."
        ),
    )
    body_mib: int = Field(
        32, ge=1, le=1024, description="Largest body of a request, in MiB; images in it count. More is refused: 413."
    )
    peers_port: int = Field(
        10000,
        ge=1,
        le=65535,
        description="TCP port where gateways tell each other how much clients asked; open where there are limits.",
    )
    healthy_s: int = Field(
        60, ge=0, description="Seconds `apply` waits until every service gives tokens to the gateway."
    )
    hold_s: int = Field(
        120,
        ge=0,
        le=3600,
        description=(
            "Seconds a request waits where no service of its alias is left, until one is back; 0: it fails at once."
        ),
    )
    check_s: int = Field(5, ge=1, description="Seconds between two health checks; each asks an engine for a token.")

    @model_validator(mode="after")
    def _limits_of_clients(self) -> Settings:
        unknown = sorted(self.limits.keys() - self.clients.keys())
        if unknown:
            raise ValueError(f"`limits` names {unknown[0]}, which is none of `clients`")
        return self

    @model_validator(mode="after")
    def _keys_of_their_own(self) -> Settings:
        name = twice(self.clients)
        if name is not None:
            raise ValueError(f"`clients.{name}` with a key that no other client has, and each of its keys once")
        return self

    def reached_at(self, first: str | None) -> str | None:
        """Address that clients use; `first`: that of the first gateway host."""
        return self.address or (self.shared_address.split("/")[0] if self.shared_address else first)

    @property
    def scheme(self) -> str:
        return "https" if self.tls_pem else "http"
