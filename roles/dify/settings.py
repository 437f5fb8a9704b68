"""What an operator may say about the Dify in which models are registered."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr, model_validator

from steelyard.settings import RoleSettings


class Settings(RoleSettings):
    """Where Dify's console is, who logs in, and by which provider models are registered."""

    section: ClassVar[str] = "dify"
    url: str | None = Field(None, pattern=r"^https?://\S+$", description="Dify's address as this machine reaches it.")
    email: str | None = Field(None, description="E-mail of an owner or administrator of the workspace.")
    password: SecretStr | None = Field(None, description="Their password; tried once, because Dify locks the account.")
    admin_key: SecretStr | None = Field(None, description="ADMIN_API_KEY instead of a login, where Dify has it enabled.")
    workspace: str | None = Field(None, description="Workspace id; needed with `admin_key`.")
    provider: str = Field(
        "langgenius/openai_api_compatible/openai_api_compatible",
        pattern=r"^[^/\s]+/[^/\s]+/[^/\s]+$",
        description="Model provider in three parts; Dify answers short names with an empty list.",
    )
    client: str = Field("dify", description="Name of the gateway client whose key Dify shows.")
    endpoint: str | None = Field(None, description="The gateway as Dify reaches it; None: the gateway's own address.")
    credential: str = Field("steelyard", max_length=30, description="Name of the credentials this site owns.")

    @model_validator(mode="after")
    def one_way_in(self) -> Settings:
        """A URL needs exactly one way to log in."""
        if self.url is not None:
            if self.admin_key is not None and self.workspace is None:
                raise ValueError("`workspace` as well, when `admin_key` is set")
            if self.admin_key is None and (self.email is None or self.password is None):
                raise ValueError("`email` and `password`, or `admin_key` and `workspace`, when `url` is set")
        return self
