"""A provider's credential form as Dify has it now: which fields a model takes, and what Dify makes of those given.

Read from `model_credential_schema`, so a plugin's next version is checked by its own form. The rules are those of
Dify's validator: a field counts where all of its `show_on` hold, the model's type is the variable `__model_type`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steelyard.errors import DifyFieldWrong, nearest_key

from .console import Provider
from .desired_state import DesiredModel

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
        return tuple(field for field in self.fields if all(seen.get(name) == value for name, value in field.show_on))

    def secrets(self, model_type: str, values: Mapping[str, Any]) -> frozenset[str]:
        """Names of the secret fields that count for these values."""
        return frozenset(field.name for field in self.shown(model_type, values) if field.secret)

    def stored(self, model_type: str, given: Mapping[str, str]) -> dict[str, str]:
        """The values that Dify keeps of the given values: known fields, with the defaults of those left out."""
        stored = {}
        for field in self.shown(model_type, given):
            value = given.get(field.name)
            if value is not None:
                stored[field.name] = value
            elif field.default:
                stored[field.name] = field.default
        return stored

    def check(self, model: DesiredModel, given: Mapping[str, str]) -> None:
        """Check values against the form.

        Raises DifyFieldWrong: an unknown field would be dropped silently, the rest be refused after other calls.
        """
        fields = {field.name: field for field in self.shown(model.type, given)}
        for name, value in given.items():
            if name not in fields:
                nearest = nearest_key(name, sorted(fields))
                allowed = f"{', '.join(sorted(fields))}; did you mean `{nearest}`?"
                raise _wrong(model, name, "not in the form", allowed)
            options = fields[name].options
            if options and value and value not in options:
                raise _wrong(model, name, f"`{value}`", ", ".join(options))
        for field in fields.values():
            if field.required and not given.get(field.name):
                raise _wrong(model, field.name, "not set", "a value: Dify requires it")


def _wrong(model: DesiredModel, name: str, found: str, allowed: str) -> DifyFieldWrong:
    return DifyFieldWrong(where=model.written(name), model=model.model, field=name, found=found, allowed=allowed)


def form_of(provider: Provider) -> Form:
    """The form in an entry of GET /model-providers."""
    entries = (provider.get("model_credential_schema") or {}).get("credential_form_schemas") or []
    return Form(tuple(_form_field(entry) for entry in entries))


def _form_field(entry: Mapping[str, Any]) -> FormField:
    default = entry.get("default")
    return FormField(
        entry["variable"],
        entry["type"] == "secret-input",
        bool(entry.get("required")),
        None if default is None else str(default),
        tuple(str(option["value"]) for option in entry.get("options") or ()),
        tuple((str(rule["variable"]), str(rule["value"])) for rule in entry.get("show_on") or ()),
    )
