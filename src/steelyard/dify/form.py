"""A provider's credential form as Dify has it now: which fields a model takes, and what Dify makes of those given.

Read from `model_credential_schema`, so a plugin's next version is checked by its own form. The rules are those of
Dify's validator: a field counts where all of its `show_on` hold, the model's type is the variable `__model_type`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steelyard.errors import DifyFieldWrong, nearest_key

from .wanted import WantedModel

TYPE = "__model_type"


@dataclass(frozen=True)
class FormField:
    """One field. `options` is empty where any text is taken."""

    name: str
    secret: bool
    required: bool
    default: str | None
    options: tuple[str, ...]
    show_on: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Form:
    """Every field of every model type, in the provider's order."""

    fields: tuple[FormField, ...]

    def shown(self, model_type: str, values: Mapping[str, Any]) -> tuple[FormField, ...]:
        """The fields that count for these values."""
        seen = {**values, TYPE: model_type}
        return tuple(each for each in self.fields if all(seen.get(name) == value for name, value in each.show_on))

    def secrets(self, model_type: str, values: Mapping[str, Any]) -> frozenset[str]:
        return frozenset(each.name for each in self.shown(model_type, values) if each.secret)

    def stored(self, model_type: str, given: Mapping[str, str]) -> dict[str, str]:
        """What Dify keeps of the given values: known fields, with the defaults of those left out."""
        found = {}
        for each in self.shown(model_type, given):
            value = given.get(each.name)
            if value is not None:
                found[each.name] = value
            elif each.default:
                found[each.name] = each.default
        return found

    def check(self, model: WantedModel, given: Mapping[str, str]) -> None:
        """Raises DifyFieldWrong: an unknown field would be dropped silently, the rest be refused after other calls."""
        fields = {each.name: each for each in self.shown(model.type, given)}
        for name, value in given.items():
            if name not in fields:
                nearest = nearest_key(name, sorted(fields))
                allowed = f"{', '.join(sorted(fields))}; did you mean `{nearest}`?"
                raise _wrong(model, name, "not in the form", allowed)
            options = fields[name].options
            if options and value and value not in options:
                raise _wrong(model, name, f"`{value}`", ", ".join(options))
        for each in fields.values():
            if each.required and not given.get(each.name):
                raise _wrong(model, each.name, "not set", "a value: Dify requires it")


def _wrong(model: WantedModel, name: str, found: str, allowed: str) -> DifyFieldWrong:
    return DifyFieldWrong(where=model.written(name), model=model.model, field=name, found=found, allowed=allowed)


def form_of(provider: Mapping[str, Any]) -> Form:
    """From an entry of GET /model-providers."""
    entries = (provider.get("model_credential_schema") or {}).get("credential_form_schemas") or []
    return Form(tuple(_field(entry) for entry in entries))


def _field(entry: Mapping[str, Any]) -> FormField:
    default = entry.get("default")
    return FormField(
        entry["variable"],
        entry["type"] == "secret-input",
        bool(entry.get("required")),
        None if default is None else str(default),
        tuple(str(option["value"]) for option in entry.get("options") or ()),
        tuple((str(each["variable"]), str(each["value"])) for each in entry.get("show_on") or ()),
    )
