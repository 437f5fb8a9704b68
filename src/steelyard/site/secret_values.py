"""Secrets of an inventory as values: those that protect nothing are refused, those that lie there in plain are told.

An empty key is no key: everybody may ask. One that is a placeholder is everybody's, and one with a space or an umlaut
goes into no HTTP header, so that it fails at the first request and not before. No value is ever shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from steelyard.api.advice import Advice
from steelyard.errors import SecretTwice, SecretUnusable, SteelyardError
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.inventory.layers import own_folder
from steelyard.inventory.locate import locate
from steelyard.inventory.password import PASSWORD_BESIDE
from steelyard.inventory.placeholders import is_placeholder
from steelyard.inventory.validation_cache import SecretFields, SecretPath

Keys = tuple[str | int, ...]
OF_CONNECTIONS = (
    "ansible_password",
    "ansible_ssh_pass",
    "ansible_ssh_password",
    "ansible_become_password",
    "ansible_become_pass",
    "hf_token",
)
HEADER = re.compile(r"clients|keys?$|token", re.IGNORECASE)  # fields whose values go into a header of HTTP
KEY = re.compile(r"[\s-]*['\"]?([\w.-]+)['\"]?\s*[:=]")  # that a line begins with
SHORT = 16  # characters: of fewer, somebody who asks often enough finds one
PLACEHOLDER = re.compile(
    r"""(?ix)
    ^\s*(
        change[-_ ]?(me|this|it).* | replace[-_ ]?(me|this|with).* | <[^<>]*> | \[[^\[\]]*\] | \{\{?[^{}]*\}?\}
      | to[-_ ]?do\b.* | tbd | fix[-_ ]?me\b.* | x{3,} | \.{3,} | \*{3,} | -{3,} | \?{2,}
      | (put|insert|enter|fill)[-_ ].* | (your|my|some|an?)[-_ ].*(key|secret|password|token).*
      | (example|sample|dummy|placeholder|secret|password|default|none|null|nil|test|foo|bar|abc|123(4(56?)?)?)
      | sk-(x{3,}|\.{3,}|1234\w*|test|example|your[-_ ].*|<.*>)
    )\s*$"""
)


class SecretValue(NamedTuple):
    """A secret of a host, and the keys that lead to it."""

    host: FleetHost
    keys: Keys
    text: str

    @property
    def key(self) -> str:
        return ".".join(map(str, self.keys))

    @property
    def goes_into_a_header(self) -> bool:
        return any(HEADER.search(str(key)) for key in self.keys[:2])


def secret_values(fleet: Fleet, fields: SecretFields) -> Iterator[SecretValue]:
    """Every secret of every host: of the settings `fields`, by section, and of connections."""
    for host in fleet.hosts:
        for section, paths in fields.items():
            for path in paths:
                for keys, text in _at(host.variables.get(section), path, (section,)):
                    yield SecretValue(host, keys, text)
        for name in OF_CONNECTIONS:
            if isinstance(host.variables.get(name), str):
                yield SecretValue(host, (name,), host.variables[name])


def _at(value: Any, path: SecretPath, keys: Keys) -> Iterator[tuple[Keys, str]]:
    """The texts at the end of a path, with the keys that lead to each; `*` is any key or place."""
    if not path:
        if isinstance(value, str):
            yield keys, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if path[0] in ("*", key):
                yield from _at(inner, path[1:], (*keys, key))
    elif isinstance(value, list) and path[0] == "*":
        for number, inner in enumerate(value):
            yield from _at(inner, path[1:], (*keys, number))


def wrong_secrets(fleet: Fleet, fields: SecretFields) -> list[SteelyardError]:
    """Secrets that protect nothing, or cannot be used; each place once."""
    errors: dict[str, SteelyardError] = {}
    held: dict[str, dict[str, SecretValue]] = {}
    for secret in _each_once(secret_values(fleet, fields)):
        why = why_unusable(secret)
        if why is not None:
            where = _written_at(fleet, secret)
            error: SteelyardError = SecretUnusable(where=where, key=secret.key, why=why)
            errors.setdefault(str(error), error)
        elif secret.goes_into_a_header:
            owners = held.setdefault(secret.text, {})
            first = next((other for owner, other in owners.items() if owner != _owner(secret)), None)
            if first is not None:
                where = locate(fleet.path, secret.host, secret.keys)
                error = SecretTwice(where=where, key=secret.key, other=first.key)
                errors.setdefault(str(error), error)
            owners.setdefault(_owner(secret), secret)
    return list(errors.values())


def _owner(secret: SecretValue) -> str:
    """Who shows the key: a client may have several, and each host its own setting of the same name."""
    return ".".join(map(str, secret.keys[:3] if "clients" in secret.keys[:2] else secret.keys[:2]))


def _each_once(secrets: Iterable[SecretValue]) -> Iterator[SecretValue]:
    """Of hosts that share a secret, the first."""
    seen: set[tuple[Keys, str]] = set()
    for secret in secrets:
        if (secret.keys, secret.text) not in seen:
            seen.add((secret.keys, secret.text))
            yield secret


def why_unusable(secret: SecretValue) -> str | None:
    """The reason why a secret is refused, as the end of a sentence; None where it may be used."""
    text = secret.text
    if not text.strip():
        return "is empty" if not text else "holds nothing but spaces"
    if is_placeholder(text):
        return None  # told with all of its kind, and with the command that fills it in
    if PLACEHOLDER.match(text):
        return "is a placeholder, which everybody can guess"
    if "-----BEGIN " in text:
        return None
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        return "holds a line break or another control character"
    if secret.goes_into_a_header:
        if any(letter.isspace() for letter in text):
            return "holds a space, and goes into no HTTP header so"
        if not text.isascii():
            return "holds a letter that is not ASCII, and goes into no HTTP header so"
    return None


def secret_advice(fleet: Fleet, fields: SecretFields) -> tuple[Advice, ...]:
    """Advice on secrets that lie there in plain, and on keys that are short; for each host that has one.

    Nothing is said of a pyinfra inventory: its Python asks whoever it likes for them.
    """
    advice: list[Advice] = []
    places: dict[tuple[Keys, str], str] = {}
    for secret in secret_values(fleet, fields) if fleet.path.suffix != ".py" else ():
        if is_placeholder(secret.text):
            continue
        place = places.get((secret.keys, secret.text))
        if place is None:
            place = places.setdefault((secret.keys, secret.text), _written_at(fleet, secret))
        host, key = secret.host.name, secret.key
        if not secret.host.hides(secret.keys):
            text = f"{place}: `{key}` lies there in plain, for whoever reads the file or its history"
            advice.append(Advice(host, f"plain-secret.{key}", text, _encrypt(fleet, secret, place)))
        if secret.goes_into_a_header and len(secret.text) < SHORT and "-----BEGIN " not in secret.text:
            text = f"{place}: `{key}` has fewer than {SHORT} characters, and can be found by trying"
            advice.append(Advice(host, f"short-key.{key}", text, "take a longer one: `openssl rand -hex 24` makes one"))
    return tuple(advice)


def _written_at(fleet: Fleet, secret: SecretValue) -> str:
    """`FILE:LINE` where the text of a secret lies: at the variable that a template took it from, if it did."""
    return secret.host.origins.get(secret.keys) or locate(fleet.path, secret.host, secret.keys)


def _encrypt(fleet: Fleet, secret: SecretValue, place: str) -> str:
    password = quote(str(own_folder(fleet.path) / PASSWORD_BESIDE))
    name = _key_at(place) if secret.keys in secret.host.origins else ""
    name = name or next(key for key in reversed(secret.keys) if isinstance(key, str))
    return (
        f"`ansible-vault encrypt_string --vault-password-file {password} --stdin-name {name}` reads it and prints what "
        "to put in place of that line; then take a new one, for this one was seen"
    )


def _key_at(place: str) -> str:
    """The key on a line of a file; empty where none is."""
    path, _, line = place.rpartition(":")
    try:
        match = KEY.match(Path(path).read_text().splitlines()[int(line) - 1])
    except (OSError, ValueError, IndexError):
        return ""
    return match[1] if match else ""
