"""Checks every role's settings for every host before the first connection.

A role's `settings.py` holds one pydantic model named `Settings` whose `section` is the variable it is written under.
The engine finds them by looking into the roles package; it knows none by name.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from steelyard.errors import SettingMissing, SettingUnknown, SettingWrong, SteelyardError, nearest_key
from steelyard.inventory.checked import secrets_in
from steelyard.inventory.connection import wrong_connection
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.inventory.locate import locate


class RoleSettings(BaseModel):
    """Base of every role's settings: frozen, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    section: ClassVar[str]


class HostVariables(Protocol):
    """What a role reads its section from: pyinfra's `host.data`, or a dict."""

    def get(self, key: str, default: Any = None, /) -> Any: ...


Settings = TypeVar("Settings", bound=BaseModel)
Role = TypeVar("Role", bound=RoleSettings)


def settings_from(model: type[Role], variables: HostVariables) -> Role:
    """The section of a role, as its `tasks.py` reads it; it was checked before, so it holds."""
    return model.model_validate(variables.get(model.section, {}) or {})


def role_settings() -> dict[str, type[RoleSettings]]:
    """Section name to settings model of every role."""
    import steelyard.roles

    found = {}
    for module in pkgutil.iter_modules(steelyard.roles.__path__):
        settings: type[RoleSettings] = importlib.import_module(f"steelyard.roles.{module.name}.settings").Settings
        found[settings.section] = settings
    return found


def check_settings(fleet: Fleet) -> list[SteelyardError]:
    """Every wrong setting of every host, each place once. Sections that are nearly a role's name are typos."""
    models = role_settings()
    errors: dict[str, SteelyardError] = {}
    for host in fleet.hosts:
        for key, found, allowed in wrong_connection(host):
            wrong = SettingWrong(where=locate(fleet.path, host, (key,)), key=key, found=found, allowed=allowed)
            errors.setdefault(str(wrong), wrong)
        for section, model in models.items():
            if section in host.variables:
                for error in problems(model, host.variables[section], fleet, host, (section,)):
                    errors.setdefault(str(error), error)
        for key, value in host.variables.items():
            meant = nearest_key(key, list(models))
            if isinstance(value, dict) and key not in models and _is_typo(key, meant):
                where = locate(fleet.path, host, (key,))
                error = SettingUnknown(where=where, section="the site", found=key, allowed=", ".join(models), nearest=meant)
                errors.setdefault(str(error), error)
    return list(errors.values())


def secret_fields() -> dict[str, tuple[str, ...]]:
    """Section to its SecretStr settings, of every role that has some."""
    found = {}
    for section, model in role_settings().items():
        names = tuple(name for name, field in model.model_fields.items() if "SecretStr" in str(field.annotation))
        if names:
            found[section] = names
    return found


def declared_secrets(fleet: Fleet) -> frozenset[str]:
    """Every value of a SecretStr setting, in a vault or not: for masking. Settings may still be wrong here."""
    return secrets_in(fleet, secret_fields())


def _is_typo(found: str, meant: str) -> bool:
    import difflib

    return difflib.SequenceMatcher(None, found, meant).ratio() > 0.8


def validated(model: type[Settings], value: Any, fleet: Fleet, host: FleetHost | None, keys: tuple[str, ...]) -> Settings:
    """The value as the model. Raises the first of its problems."""
    for error in problems(model, value, fleet, host, keys):
        raise error
    return model.model_validate(value)


def problems(
    model: type[BaseModel], value: Any, fleet: Fleet, host: FleetHost | None, keys: tuple[str, ...]
) -> list[SteelyardError]:
    """What is wrong with the value, with file, line and key of each."""
    try:
        model.model_validate(value if value is not None else {})
    except ValidationError as failure:
        return [_problem(model, dict(detail), fleet, host, keys) for detail in failure.errors(include_url=False)]
    return []


def _problem(
    model: type[BaseModel], detail: dict[str, Any], fleet: Fleet, host: FleetHost | None, keys: tuple[str, ...]
) -> SteelyardError:
    path = (*keys, *detail["loc"])
    where = locate(fleet.path, host, path)
    dotted = ".".join(str(key) for key in path)
    if detail["type"] == "extra_forbidden":
        owner = _model_at(model, detail["loc"][:-1])
        allowed = list(owner.model_fields) if owner else []
        section = ".".join(str(key) for key in path[:-1]) or "models.yml"
        found = str(path[-1])
        meant = nearest_key(found, allowed)
        return SettingUnknown(where=where, section=section, found=found, allowed=", ".join(allowed), nearest=meant)
    if detail["type"] == "missing":
        owner = _model_at(model, detail["loc"][:-1])
        described = owner.model_fields[str(path[-1])].description if owner else None
        return SettingMissing(where=where, key=dotted, allowed=described or "required")
    shown = repr(detail["input"])
    secret = any(word and word in shown for word in fleet.secrets) or _is_secret(model, detail["loc"])
    return SettingWrong(where=where, key=dotted, found="a secret" if secret else shown[:120], allowed=_allowed(detail))


def _allowed(detail: dict[str, Any]) -> str:
    return str(detail["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")


def _model_at(model: type[BaseModel], path: tuple[Any, ...]) -> type[BaseModel] | None:
    """The nested model that a path of keys leads to; keys of dictionaries are passed over."""
    current: type[BaseModel] | None = model
    for key in path:
        if current is None:
            return None
        field = current.model_fields.get(str(key))
        if field is not None:
            nested = _models_in(field.annotation)
            current = nested[0] if nested else current
    return current


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found = []
    for argument in getattr(annotation, "__args__", ()):
        found += _models_in(argument)
    return found


def _is_secret(model: type[BaseModel], path: tuple[Any, ...]) -> bool:
    owner = _model_at(model, path[:-1])
    field = owner.model_fields.get(str(path[-1])) if owner and path else None
    return field is not None and "SecretStr" in str(field.annotation)
