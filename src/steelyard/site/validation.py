"""Checks every role's settings for every host before the first connection.

A role's `settings.py` holds one pydantic model named `Settings` whose `section` is the variable it is written under.
The engine finds them by looking into the roles package; it knows none by name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from steelyard.api.names import in_words
from steelyard.api.settings import RoleSettings
from steelyard.errors import (
    NameTaken,
    NameWrong,
    SettingMissing,
    SettingUnknown,
    SettingWrong,
    SteelyardError,
    nearest_key,
)
from steelyard.errors.visible import one_line
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.inventory.locate import locate
from steelyard.inventory.validation_cache import SecretFields, secrets_in
from steelyard.inventory.variables import NAMESPACE, ours

from .secret_settings import is_on_a_path, secret_paths

TYPO = 0.8  # likeness of a variable to a section's name
LIKE = 0.65  # likeness of one key of a section that is ours with a slip in it
KEY = "[key]"  # at the end of the place of an error: pydantic means the name itself, not what is under it
ROLES = "steelyard.roles"  # looked into, and no role is known by name
Settings = TypeVar("Settings", bound=BaseModel)


def role_settings() -> dict[str, type[RoleSettings]]:
    """Section name to settings model of every role."""
    sections = {}
    for module in pkgutil.iter_modules(importlib.import_module(ROLES).__path__):
        settings: type[RoleSettings] = importlib.import_module(f"{ROLES}.{module.name}.settings").Settings
        sections[settings.section] = settings
    return sections


def check_settings(fleet: Fleet) -> list[SteelyardError]:
    """Every wrong setting of every host, each place once. Sections that are nearly a role's name are typos."""
    models = role_settings()
    errors: dict[str, SteelyardError] = {}
    for host in fleet.hosts:
        if host.unresolved:
            continue  # these errors are that host's own
        for clash in name_clashes(fleet, host, models):
            errors.setdefault(str(clash), clash)
    if errors:  # what another tool's value lacks of ours says nothing
        return list(errors.values())
    for host in fleet.hosts:
        if host.unresolved:
            continue
        for section, model in models.items():
            if section in host.variables:
                for error in problems(model, host.variables[section], fleet, host, (section,)):
                    errors.setdefault(str(error), error)
        for key, value in host.variables.items():
            if not isinstance(value, dict) or key in models:
                continue
            meant = nearest_key(key, list(models))
            if _is_typo(key, meant):
                where = locate(fleet.path, host, (key,))
                error = SettingUnknown(
                    where=where, section="the site", found=key, allowed=", ".join(models), nearest=meant
                )
                errors.setdefault(str(error), error)
    return list(errors.values())


def name_clashes(fleet: Fleet, host: FleetHost, models: dict[str, type[RoleSettings]]) -> Iterator[SteelyardError]:
    """Variables with a name of ours that hold something else, and names in `steelyard` that are none of ours."""
    for section in (*models, "models"):
        value = host.variables.get(section)
        if value is not None and (not isinstance(value, dict) or _is_foreign(models.get(section), value)):
            shown = _shown(value)[:120]
            hidden = host.hides((section,)) or any(word in shown for word in fleet.secrets)
            where = locate(fleet.path, host, (section,))
            yield NameTaken(where=where, name=section, found="a secret" if hidden else shown)
    together = host.variables.get(NAMESPACE)
    for name in together if isinstance(together, dict) else ():
        if name not in ours():
            where, allowed = locate(fleet.path, host, (NAMESPACE, name)), sorted(ours())
            meant = nearest_key(name, allowed)
            yield SettingUnknown(where=where, section=NAMESPACE, found=name, allowed=", ".join(allowed), nearest=meant)


def _is_foreign(model: type[RoleSettings] | None, value: dict[str, Any]) -> bool:
    """Whether none of its keys is one of the section's, or nearly one."""
    if model is None or not value:
        return False
    known = list(model.model_fields)
    return not any(key in known or _likeness(str(key), nearest_key(str(key), known)) > LIKE for key in value)


def secret_fields() -> SecretFields:
    """Section to the paths of its secret settings, of every role that has some."""
    paths = {section: secret_paths(model) for section, model in role_settings().items()}
    return {section: secrets for section, secrets in paths.items() if secrets}


def declared_secrets(fleet: Fleet) -> frozenset[str]:
    """Every value of a SecretStr setting, in a vault or not: for masking. Settings may still be wrong here."""
    return secrets_in(fleet, secret_fields())


def _is_typo(key: str, meant: str) -> bool:
    return _likeness(key, meant) > TYPO


def _likeness(one: str, other: str) -> float:
    import difflib

    return difflib.SequenceMatcher(None, one, other).ratio()


def validated(
    model: type[Settings], value: Any, fleet: Fleet, host: FleetHost | None, keys: tuple[str, ...]
) -> Settings:
    """The value as the model. Raises the first of its problems."""
    for error in problems(model, value, fleet, host, keys):
        raise error
    return model.model_validate(value)


def problems(
    model: type[BaseModel], value: Any, fleet: Fleet, host: FleetHost | None, keys: tuple[str, ...]
) -> list[SteelyardError]:
    """Errors of the value, with file, line and key of each."""
    try:
        model.model_validate(value if value is not None else {})
    except ValidationError as failure:
        return [_problem(model, dict(detail), fleet, host, keys) for detail in failure.errors(include_url=False)]
    return []


def _problem(
    model: type[BaseModel], detail: dict[str, Any], fleet: Fleet, host: FleetHost | None, keys: tuple[str, ...]
) -> SteelyardError:
    path = (*keys, *(key for key in detail["loc"] if key != KEY))
    where = locate(fleet.path, host, path)
    dotted = _dotted(path)
    if detail["loc"][-1:] == (KEY,):
        name = str(path[-1])
        shown = "a secret" if name in fleet.secrets else one_line(name)[:120]
        section = _dotted(path[:-1]) or "models.yml"
        return NameWrong(where=where, section=section, name=shown, allowed=_allowed(detail))
    if detail["type"] == "extra_forbidden":
        owner = _model_at(model, detail["loc"][:-1])
        allowed = list(owner.model_fields) if owner else []
        section = _dotted(path[:-1]) or "models.yml"
        unknown = one_line(str(path[-1]))
        meant = nearest_key(unknown, allowed)
        return SettingUnknown(where=where, section=section, found=unknown, allowed=", ".join(allowed), nearest=meant)
    if detail["type"] == "missing":
        owner = _model_at(model, detail["loc"][:-1])
        described = owner.model_fields[str(path[-1])].description if owner else None
        return SettingMissing(where=where, key=dotted, allowed=described or "required")
    shown = _shown(detail["input"])
    secret = any(word and word in shown for word in fleet.secrets) or is_on_a_path(detail["loc"], secret_paths(model))
    return SettingWrong(where=where, key=dotted, found="a secret" if secret else shown[:120], allowed=_allowed(detail))


def _dotted(keys: Iterable[str | int]) -> str:
    return one_line(".".join(map(str, keys)))


def _shown(value: Any) -> str:
    """A section by its keys: among its values may be passwords, whichever of them is wrong."""
    if isinstance(value, dict):
        return f"a section with {one_line(', '.join(map(str, value)))}" if value else "an empty section"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return f"a list of {len(value)}"
    return repr(value)


def _allowed(detail: dict[str, Any]) -> str:
    pattern = str(detail.get("ctx", {}).get("pattern", ""))
    return in_words(pattern) or str(detail["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")


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
    models = []
    for argument in getattr(annotation, "__args__", ()):
        models += _models_in(argument)
    return models
