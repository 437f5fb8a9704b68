"""A fleet as it was read last time, kept while no file that ansible-core reads for it has changed.

Reading with ansible-core costs half a second before the first host; hashing the files costs a millisecond. Kept values
may be secret: then the file is encrypted with the vault password and a random key of this machine together, so it opens
nowhere else and to nobody who could not open the vault. A dynamic source is never kept: it may answer anew.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from steelyard.dirs import cache_folder, write_private

from .digest import kept_place, source_digest
from .fleet import Fleet, FleetHost, ResolvedVariable
from .known_names import note_fleet
from .password import vault_identity

SIMPLE = re.compile(r"^[A-Za-z0-9_.*?-]+$")
Read = Callable[[Path, Path | None], Fleet]


def read_cached(path: Path, password: Path | None, read: Read) -> Fleet:
    """The kept fleet, or what `read` gives, which is then kept."""
    digest = source_digest(path)
    if digest is None:
        return read(path, password)
    kept = kept_place(path)
    cached = _load(kept, digest, path, password)
    if cached is not None:
        note_fleet(cached, digest)
        return _with_match(replace(cached, digest=digest), kept, digest, password, read)
    fleet = read(path, password)
    if fleet.may_change or any(host.unresolved for host in fleet.hosts):
        return fleet
    _keep(kept, digest, fleet, password)
    note_fleet(fleet, digest)
    return replace(fleet, digest=digest)


def _cipher(password: Path | None) -> Callable[[bytes, bool], bytes]:
    """Encrypts (True) and decrypts with this machine's key and the vault password."""
    from cryptography.fernet import Fernet

    key = cache_folder() / "key"
    if not key.exists():
        write_private(key, os.urandom(32))
    secret = key.read_bytes() + (vault_identity(password)[1].read_bytes() if password else b"")
    cipher = Fernet(base64.urlsafe_b64encode(hashlib.sha256(secret).digest()))
    return lambda content, encrypt: cipher.encrypt(content) if encrypt else cipher.decrypt(content)


def _load(kept: Path, digest: str, path: Path, password: Path | None) -> Fleet | None:
    """The kept fleet; None where it is of other files, torn, or closed to this password."""
    try:
        head, body = kept.read_bytes().split(b"\n", 1)
        was, _, how = head.decode().partition(" ")
        if was != digest:
            return None
        stored = json.loads(_cipher(password)(body, False) if how == "encrypted" else body)
        hosts = tuple(map(_host, stored["hosts"]))
        groups, direct, children = (
            {name: tuple(members) for name, members in stored[kind].items()}
            for kind in ("groups", "direct", "children")
        )
        return Fleet(
            path, hosts, groups, frozenset(stored["secrets"]), how == "encrypted", direct=direct, children=children
        )
    except Exception:  # whatever is wrong with what we kept: it is only kept
        return None


def _host(stored: list[Any]) -> FleetHost:
    name, groups, variables, *further = stored
    if not further:
        return FleetHost(name, tuple(groups), variables)
    written, templates, hidden, as_written, origins = further
    return FleetHost(
        name,
        tuple(groups),
        variables,
        written,
        frozenset(templates),
        frozenset(map(tuple, hidden)),
        frozenset(map(tuple, as_written)),
        origins={tuple(keys): place for keys, place in origins},
    )


def _stored(host: FleetHost) -> list[Any]:
    plain = [host.name, list(host.groups), host.variables]
    if not (host.written or host.templates or host.hidden or host.origins):
        return plain
    hidden = [[list(keys) for keys in sorted(paths, key=repr)] for paths in (host.hidden, host.hidden_as_written)]
    origins = [[list(keys), place] for keys, place in host.origins.items()]
    return [*plain, host.written, sorted(host.templates), *hidden, origins]


def _keep(kept: Path, digest: str, fleet: Fleet, password: Path | None) -> None:
    """Keep a fleet, encrypted where anything of it came out of a vault; then only where the one password is a file,
    because what opens it has to be what opens the vault.
    """
    if fleet.is_vaulted and (password is None or os.access(vault_identity(password)[1], os.X_OK) or _has_identities()):
        return
    hosts = [_stored(host) for host in fleet.hosts]
    try:
        named = {"groups": fleet.groups, "direct": fleet.direct, "children": fleet.children}
        body = json.dumps({"hosts": hosts, **named, "secrets": sorted(fleet.secrets)}).encode()
        if json.loads(body)["hosts"] != hosts:
            return  # a value that JSON cannot hold as it is
        if fleet.is_vaulted:
            body = _cipher(password)(body, True)
        write_private(kept, f"{digest} {'encrypted' if fleet.is_vaulted else 'plain'}\n".encode() + body)
    except (OSError, TypeError, ValueError):
        return


def _has_identities() -> bool:
    """Whether ansible's settings name further passwords; they are read by now."""
    from ansible import constants

    return bool(constants.DEFAULT_VAULT_IDENTITY_LIST)


def _with_match(fleet: Fleet, kept: Path, digest: str, password: Path | None, read: Read) -> Fleet:
    """A host, a group and a glob are matched here; every other pattern is Ansible's to read, and its answer is kept."""
    answers = kept.with_suffix(".patterns")

    def match(pattern: str) -> list[str]:
        if SIMPLE.match(pattern):
            names: set[str] = set()
            for group, members in fleet.groups.items():
                if fnmatch(group, pattern):
                    names.update(members)
            return [host.name for host in fleet.hosts if host.name in names or fnmatch(host.name, pattern)]
        known: dict[str, list[str]] = {}
        with suppress(OSError, ValueError, TypeError):
            noted = json.loads(answers.read_text())
            known = noted["known"] if noted["digest"] == digest else {}
        if pattern in known:
            return known[pattern]
        matching = read(fleet.path, password).match(pattern)
        if "@" not in pattern:  # a file of names is not part of the inventory
            with suppress(OSError):
                write_private(answers, json.dumps({"digest": digest, "known": {**known, pattern: matching}}).encode())
        return matching

    @cache
    def fresh() -> Fleet:
        return read(fleet.path, password)

    def resolve(host: str, name: str) -> ResolvedVariable:
        return fresh().resolve(host, name)

    return replace(fleet, match=match, resolve=resolve)
