"""Base of every role's settings, and how a role reads its own."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict


class RoleSettings(BaseModel):
    """Base of every role's settings: frozen, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    section: ClassVar[str]


class HostVariables(Protocol):
    """The variables that a role reads its section from: pyinfra's `host.data`, or a dict."""

    def get(self, key: str, default: Any = None, /) -> Any: ...


Role = TypeVar("Role", bound=RoleSettings)


def settings_from(model: type[Role], variables: HostVariables) -> Role:
    """The section of a role, as its `tasks.py` reads it; it was checked before, so it holds."""
    return model.model_validate(variables.get(model.section, {}) or {})
