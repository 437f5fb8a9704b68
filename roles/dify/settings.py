"""Settings of Dify: the release that is installed, and how models are registered in it."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from steelyard.api.names import (
    Address,
    ClientName,
    Clock,
    Folder,
    LineOfText,
    NetworkOrAddress,
    ReleasedImage,
    ServerName,
    Url,
    UserName,
    VariableName,
)
from steelyard.api.settings import RoleSettings
from steelyard.dify.environment import wrong_secret

PASSWORD = re.compile(r"^(?=.*[a-zA-Z])(?=.*\d).{8,}$")
SHA256 = r"^[0-9a-f]{64}$"


class Plugin(BaseModel):
    """A plugin's package, as the marketplace gives it: unmodified, so that its signature holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    package: str = Field(description="The `.difypkg` on this machine.")
    sha256: str = Field(pattern=SHA256, description="Its hash.")
    cache: str | None = Field(
        None,
        description=(
            "Its dependencies for a Dify without a network: what `steelyard dify seed` packed, on this machine."
        ),
    )
    cache_sha256: str | None = Field(None, pattern=SHA256, description="The hash of that.")

    @model_validator(mode="after")
    def cache_by_hash(self) -> Plugin:
        """A cache is taken by its hash only."""
        if (self.cache is None) != (self.cache_sha256 is None):
            raise ValueError("`cache` and `cache_sha256`, or none of both")
        return self


class Release(BaseModel):
    """A pinned release, installed with Docker Compose from the official archive."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: str = Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9_.-]*$", description="Dify's release.")
    archive: str = Field(
        description=(
            "Its source archive (.tar.gz): a path on this machine, or an http(s) URL, for instance on the mirror."
        )
    )
    sha256: str = Field(pattern=SHA256, description="The archive's hash; another one is refused.")
    images: str | None = Field(
        None,
        description=(
            "List of images by digest on this machine, the one that `steelyard mirror images sync` carries; "
            "None: the tags of the compose file."
        ),
    )
    weaviate_steps: tuple[ReleasedImage, ...] = Field(
        (),
        description=(
            "An image of Weaviate for each minor release between the one that runs and this release's, with its "
            "release as tag: `dify upgrade` takes the volume through them one after the other."
        ),
    )

    @model_validator(mode="after")
    def one_step_a_minor(self) -> Release:
        """Two images of one minor release leave open which is meant."""
        minors = [image.partition("@")[0].rpartition(":")[2].split(".")[:2] for image in self.weaviate_steps]
        twice = next((minor for at, minor in enumerate(minors) if minor in minors[:at]), None)
        if twice is not None:
            raise ValueError(f"one image in `weaviate_steps` for {'.'.join(twice)}, not several")
        return self


class BackupSettings(BaseModel):
    """Backups made by a timer on the host, beside those before an upgrade."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    folder: Folder = Field("/var/backups/dify", description="Where the archives are kept on the host.")
    at: Clock | None = Field("03:30", description="When, as systemd's OnCalendar takes it; None: no timer.")
    keep: int = Field(
        7, ge=1, description="Archives that are kept; the newest one that was proved by a restore always is."
    )
    prove_every: int = Field(
        7, ge=0, description="Every which scheduled backup is proved by a restore into a scratch database; 0: none."
    )


class External(BaseModel):
    """A PostgreSQL or Redis of your own instead of the one in the compose file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    host: Address = Field(description="Its address as Dify's containers reach it.")
    port: int = Field(ge=1, le=65535, description="Its TCP port.")
    user: UserName | None = Field(None, description="Its user; None: `postgres`, and Redis' own default user.")
    tls: bool = Field(False, description="Redis: whether it is spoken to over TLS.")


class Proxy(BaseModel):
    """Addresses and certificate by which browsers reach Dify's own nginx."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    port: int = Field(80, ge=1, le=65535, description="Published HTTP port.")
    tls_port: int = Field(443, ge=1, le=65535, description="Published HTTPS port, with a certificate.")
    certificate: str | None = Field(None, description="Certificate chain (PEM) on this machine; None: no TLS.")
    key: SecretStr | None = Field(None, description="Its private key (PEM), from the vault.")
    name: ServerName = Field("_", description="Server name.")
    upload_mib: int = Field(100, ge=1, description="Largest upload; MiB.")
    timeout_s: int = Field(3600, ge=60, description="How long a stream may be silent.")

    @model_validator(mode="after")
    def both_or_none(self) -> Proxy:
        """A certificate needs its key."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key`, or none of both")
        return self


class Settings(RoleSettings):
    """Dify: installed at a pinned release where `release` is set, and brought to the declared models where `url` is."""

    section: ClassVar[str] = "dify"
    url: Url | None = Field(None, description="Dify's address as this machine reaches it.")
    email: str | None = Field(None, description="E-mail of an owner or administrator of the workspace.")
    password: SecretStr | None = Field(None, description="Their password; tried once, because Dify locks the account.")
    name: str = Field("admin", max_length=30, description="Their name, where a fresh Dify gets its administrator.")
    language: str = Field("en-US", description="Their language, there.")
    workspace_name: str | None = Field(None, max_length=40, description="The workspace's name; None: as it is.")
    admin_key: SecretStr | None = Field(
        None, description="ADMIN_API_KEY instead of a login, where Dify has it enabled."
    )
    workspace: str | None = Field(None, description="Workspace id; needed with `admin_key`.")
    provider: str = Field(
        "langgenius/openai_api_compatible/openai_api_compatible",
        pattern=r"^[^/\s]+/[^/\s]+/[^/\s]+$",
        description="Model provider in three parts; Dify answers short names with an empty list.",
    )
    plugins: tuple[Plugin, ...] = Field((), description="Plugin packages that Dify has, by hash; other plugins stay.")
    client: ClientName = Field("dify", description="Name of the gateway client whose newest key Dify shows.")
    endpoint: Url | None = Field(None, description="The gateway as Dify reaches it; None: the gateway's own address.")
    keys: dict[str, SecretStr] = Field(
        default_factory=dict, description="Keys of models' `further` endpoints, by name."
    )
    credential: str = Field("steelyard", max_length=30, description="Name of the credentials this site owns.")
    prune: bool = Field(
        False, description="Whether models of the provider that are not declared go, whoever made them."
    )
    by_hand: Literal["report", "ignore"] = Field(
        "report", description="What drift does with models of the provider that somebody registered by hand; they stay."
    )
    remove_used: bool = Field(False, description="Whether a model goes although apps or knowledge bases still use it.")

    release: Release | None = Field(None, description="The release to install; None: Dify is installed by others.")
    folder: Folder = Field("/opt/dify", description="The compose project's folder on the host.")
    secrets: dict[VariableName, SecretStr] = Field(
        default_factory=dict,
        description=(
            "Values for the well-known secrets of the release, over those of the variable `dify_secrets`, "
            "which `steelyard dify secrets` writes encrypted."
        ),
    )
    env: dict[VariableName, LineOfText] = Field(
        default_factory=dict,
        description="Further keys of its `.env`, over our own, with the text that containers shall get; not secret.",
    )
    images: dict[str, str] = Field(
        default_factory=dict, description="Image by service of the compose file, over `release.images`."
    )
    resources: dict[str, dict[Literal["cpus", "memory"], str]] = Field(
        default_factory=dict, description='Limits by service: `cpus` ("2.0"), `memory` ("4g").'
    )
    oldest_compose: str | None = Field(
        None,
        pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$",
        description="Oldest Docker Compose to work with; None: what the release's own words ask for.",
    )
    collaboration: bool = Field(
        False,
        description="Whether several people edit a workflow at once, since 1.14; browsers reach it at `proxy.name`.",
    )
    workers: int | None = Field(None, ge=1, description="API worker processes; None: by the host's cores and memory.")
    ready_s: int = Field(
        900, ge=30, description="How long it may take until every container is healthy and Dify answers."
    )
    ssrf_allow: tuple[NetworkOrAddress, ...] = Field(
        (), description="Private networks (CIDR) that workflows may reach past the SSRF proxy."
    )
    postgres: External | None = Field(
        None, description="A PostgreSQL of your own; its password is `secrets.DB_PASSWORD`."
    )
    redis: External | None = Field(None, description="A Redis of your own; its password is `secrets.REDIS_PASSWORD`.")
    proxy: Proxy = Field(default_factory=lambda: Proxy.model_validate({}), description="How browsers reach it.")
    backups: BackupSettings = Field(
        default_factory=lambda: BackupSettings.model_validate({}), description="Backups by a timer."
    )

    @field_validator("secrets")
    @classmethod
    def secrets_arrive(cls, secrets: dict[str, SecretStr]) -> dict[str, SecretStr]:
        """A secret reaches every container as it stands, or is refused."""
        for name, secret in secrets.items():
            allowed = wrong_secret(name, secret.get_secret_value())
            if allowed is not None:
                raise ValueError(f"{name} of {allowed}")
        return secrets

    @model_validator(mode="after")
    def one_way_in(self) -> Settings:
        """A URL needs exactly one way to log in; a fresh Dify takes only certain passwords."""
        if self.url is not None:
            if self.admin_key is not None and self.workspace is None:
                raise ValueError("`workspace` as well, when `admin_key` is set")
            if self.admin_key is None and (self.email is None or self.password is None):
                raise ValueError("`email` and `password`, or `admin_key` and `workspace`, when `url` is set")
        if self.release is None and any(plugin.cache for plugin in self.plugins):
            raise ValueError(
                "`release` as well, when a plugin has a `cache`: it is laid into the installed Dify's folder"
            )
        if self.password is not None and not PASSWORD.match(self.password.get_secret_value()):
            raise ValueError("`password` with at least 8 characters, a letter and a digit: Dify refuses others")
        return self
