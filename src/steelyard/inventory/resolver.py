"""Values of one host as ansible-core means them: templates evaluated with its own templar, vault values opened, types
native.

Every text is evaluated by itself, so that what cannot be resolved has its keys, its file and its line. Whether a text
is a template is told by the tag that ansible-core gave it on reading: `!unsafe` values, results of `constructed` and
what lies in a vault value are text. While a template is evaluated, ansible-core tells of every value that it touches:
a result is secret where one of them came out of a vault, and may change where one asks for more than the inventory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

from steelyard.errors import (
    LookupFailed,
    SteelyardError,
    TemplateRecursive,
    TemplateWrong,
    VariableUndefined,
    VaultValueClosed,
)

from .fleet import MASK, Keys, Values
from .template_words import asks_for_more
from .vault import is_encrypted_whole, of_vault

if TYPE_CHECKING:
    from ansible.parsing.dataloader import DataLoader

TEMPLATE_OPENINGS = ("{{", "{%", "{#")
QUOTED = re.compile(r"(['\"])(.*?)\1")
NOTHING = object()  # of a template that says `omit`: the key is left out
LONGEST = 300  # letters of what ansible-core says is wrong
Place = Callable[[Keys], str]  # FILE:LINE of a value, where its text does not know


class VaultText:
    """A text out of a vault. `alone`: it was encrypted by itself, not with its whole file."""

    __slots__ = ("alone", "keys", "text")

    def __init__(self, keys: Keys, text: str, alone: bool) -> None:
        self.keys, self.text, self.alone = keys, text, alone


class Unresolved(Exception):
    """A value that cannot be had, with the error that says so."""

    def __init__(self, error: SteelyardError) -> None:
        super().__init__(str(error))
        self.error = error


class Resolver:
    """The variables of one host. `secrets` and `closed` grow with what was met; `open_names` are variables that still
    hold a template; `origins` has the places of variables that templates took values from as they are.
    """

    def __init__(self, loader: DataLoader, variables: Values, place: Place) -> None:
        from ansible.template import Templar

        self._templar = Templar(loader=loader, variables=variables)
        self._place = place
        self.secrets: list[VaultText] = []
        self.closed = 0  # vault values that no password opened
        self.may_change = False
        self.open_names: set[str] = set()
        self.origins: dict[Keys, str] = {}

    def resolved(self, name: str, value: Any) -> Any:
        """The value with every template evaluated. Raises Unresolved."""
        result = self._value(value, (name,), evaluate=True)
        return None if result is NOTHING else result

    def written(self, name: str, value: Any) -> Any:
        """The value as the inventory says it: templates are text, and what no password opens stays encrypted."""
        return self._value(value, (name,), evaluate=False)

    def _value(self, value: Any, keys: Keys, evaluate: bool) -> Any:
        if isinstance(value, dict):
            inner = {(name := word(key)): self._value(item, (*keys, name), evaluate) for key, item in value.items()}
            return {key: item for key, item in inner.items() if item is not NOTHING}
        if isinstance(value, list | tuple):
            items = [self._value(item, (*keys, number), evaluate) for number, item in enumerate(value)]
            return [item for item in items if item is not NOTHING]
        if type(value).__name__ == "EncryptedString":
            return self._opened(value, keys, evaluate)
        if isinstance(value, str) and is_template(value):
            if evaluate:
                return self._evaluated(value, keys)
            self.open_names.add(str(keys[0]))
        self._note(value, keys)
        return plain(value)

    def _opened(self, value: Any, keys: Keys, evaluate: bool) -> str:
        from ansible.parsing.vault import AnsibleVaultError, VaultHelper

        try:
            text = "".join(str(value))
        except AnsibleVaultError as error:
            self.closed += 1
            if not evaluate:
                return "".join(VaultHelper.get_ciphertext(value, with_tags=False))
            raise Unresolved(VaultValueClosed(where=self._where(value, keys), key=dotted(keys))) from error
        self.secrets.append(VaultText(keys, text, alone=True))
        return text

    def _evaluated(self, text: str, keys: Keys) -> Any:
        from ansible.errors import AnsibleError, AnsibleValueOmittedError

        with _touched() as touched:
            try:
                result = self._templar.template(text)
            except AnsibleValueOmittedError:
                return NOTHING
            except (AnsibleError, RecursionError) as error:
                raise Unresolved(self._error(error, text, keys, touched.is_vaulted)) from error
        self.may_change |= asks_for_more(text) or any(asks_for_more(other) for other in touched.templates)
        value = plain(result)
        self.origins.update(_origins(result, keys))
        if touched.is_vaulted or is_vaulted(result) or is_vaulted(text):
            self.secrets += [VaultText(path, leaf, touched.is_alone) for path, leaf in leaves(value, keys)]
        return value

    def _note(self, value: Any, keys: Keys) -> None:
        """A value of a file that is encrypted whole is secret, and nothing about it says so but where it is from."""
        if value is not None and not isinstance(value, bool) and is_vaulted(value):
            self.secrets.append(VaultText(keys, str(plain(value)), alone=False))

    def _where(self, value: Any, keys: Keys) -> str:
        return _origin(value) or self._place(keys)

    def _error(self, error: BaseException, text: str, keys: Keys, is_secret: bool) -> SteelyardError:
        from ansible._internal._templating._errors import AnsibleTemplatePluginError
        from ansible.errors import AnsibleUndefinedVariable

        where, key = self._where(text, keys), dotted(keys)
        said = " ".join(str(getattr(error, "message", error)).split())
        said = (_without_values(said, text) if is_secret else said)[:LONGEST].rstrip(".")
        if of_vault(error):
            self.closed += 1
            return VaultValueClosed(where=where, key=key)
        if isinstance(error, RecursionError) or "ecursive loop" in said:
            return TemplateRecursive(where=where, key=key)
        if isinstance(error, AnsibleUndefinedVariable):
            return VariableUndefined(where=where, key=key, why=said)
        if isinstance(error, AnsibleTemplatePluginError) and "lookup" in said:
            return LookupFailed(where=where, key=key, why=said)
        return TemplateWrong(where=where, key=key, why=said)


def _without_values(said: str, template: str) -> str:
    """What is said of a template that touched a vault's value, without what it made of it: that is no known secret."""
    return QUOTED.sub(lambda quoted: quoted[0] if quoted[2] in template else f"{quoted[1]}{MASK}{quoted[1]}", said)


def _origin(value: Any) -> str:
    """`FILE:LINE` of a value that ansible-core read from a file; empty where it made it."""
    from ansible._internal._datatag._tags import Origin

    origin = Origin.get_tag(value)
    return f"{origin.path}:{origin.line_num}" if origin is not None and origin.path and origin.line_num else ""


def _origins(result: Any, keys: Keys) -> Iterator[tuple[Keys, str]]:
    """The places of the texts in what a template gave, each with the keys that lead to it."""
    if isinstance(result, dict):
        for key, item in result.items():
            yield from _origins(item, (*keys, word(key)))
    elif isinstance(result, list | tuple):
        for number, item in enumerate(result):
            yield from _origins(item, (*keys, number))
    elif isinstance(result, str) and (place := _origin(result)):
        yield keys, place


class _Touched:
    """What a template touched: values out of a vault, and other templates."""

    def __init__(self) -> None:
        self.is_vaulted, self.is_alone = False, False
        self.templates: list[str] = []

    def note(self, value: Any) -> None:
        if is_vaulted(value):
            self.is_vaulted = True
            self.is_alone |= is_vaulted_alone(value)
        elif isinstance(value, str) and any(opened in value for opened in TEMPLATE_OPENINGS):
            self.templates.append(value)


@contextmanager
def _touched() -> Iterator[_Touched]:
    """Everything with a place or a vault's tag that ansible-core touches in this block."""
    from ansible._internal._datatag._tags import Origin, VaultedValue
    from ansible._internal._templating._access import NotifiableAccessContextBase
    from ansible.parsing.vault import EncryptedString

    touched = _Touched()

    class Listener(NotifiableAccessContextBase):  # type: ignore[misc]
        _type_interest = frozenset([Origin, VaultedValue, EncryptedString])

        def _notify(self, o: Any) -> None:
            touched.note(o)

    with Listener():
        yield touched


def is_template(text: str) -> bool:
    """Whether ansible-core would evaluate it: it has the signs, and the tag of what is trusted."""
    if not any(opened in text for opened in TEMPLATE_OPENINGS):
        return False
    from ansible.template import is_trusted_as_template

    return bool(is_trusted_as_template(text))


def is_vaulted(value: Any) -> bool:
    """Whether a value came out of a vault: by itself, or with its whole file."""
    from ansible._internal._datatag._tags import Origin

    if is_vaulted_alone(value):
        return True
    origin = Origin.get_tag(value)
    return origin is not None and origin.path is not None and is_encrypted_whole(origin.path)


def is_vaulted_alone(value: Any) -> bool:
    from ansible._internal._datatag._tags import VaultedValue

    return type(value).__name__ == "EncryptedString" or bool(VaultedValue.is_tagged_on(value))


def plain(value: Any) -> Any:
    """Ansible's tagged values as plain Python."""
    if isinstance(value, dict):
        return {word(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, date):
        return value.isoformat()  # as JSON has it, which is how a fleet is kept
    return "".join(value) if isinstance(value, str) else value


def leaves(value: Any, keys: Keys) -> Iterator[tuple[Keys, str]]:
    """Every text and number in a value, as text, with the keys that lead to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*keys, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, (*keys, number))
    elif value is not None and not isinstance(value, bool):
        yield keys, str(value)


def word(key: Any) -> str:
    """The key as text, as JSON has it: YAML's `on:` is a truth and no name."""
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    return "".join(key) if isinstance(key, str) else str(key)


def dotted(keys: Keys) -> str:
    return ".".join(map(str, keys))
