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
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

from steelyard import __version__
from steelyard.cache import cache_folder, write_private

from .fleet import Fleet, FleetHost

BESIDE = ("group_vars", "host_vars")
CONFIGURATION = ("ansible.cfg", "~/.ansible.cfg", "/etc/ansible/ansible.cfg")
DYNAMIC = re.compile(rb"(?m)^plugin\s*:")
SIMPLE = re.compile(r"^[A-Za-z0-9_.*?-]+$")
Read = Callable[[Path, Path | None], Fleet]


def read_cached(path: Path, password: Path | None, read: Read) -> Fleet:
    """The kept fleet, or what `read` gives, which is then kept."""
    digest = source_digest(path)
    if digest is None:
        return read(path, password)
    kept = cache_folder() / "inventory" / hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
    found = _load(kept, digest, path, password)
    if found is not None:
        return _with_match(replace(found, digest=digest), kept, digest, password, read)
    fleet = read(path, password)
    _keep(kept, digest, fleet, password)
    return replace(fleet, digest=digest)


def source_digest(path: Path) -> str | None:
    """Hash of everything ansible-core would read; None where a source is a program or a plugin's description."""
    whole = hashlib.sha256(f"{_readers_version()} {__version__}".encode())
    for name in sorted(name for name in os.environ if name.startswith("ANSIBLE_")):
        whole.update(f"\0{name}={os.environ[name]}".encode())
    for file in (Path(name).expanduser() for name in CONFIGURATION):
        if file.is_file():
            whole.update(b"\0" + file.read_bytes())
    try:
        for file in _files(path):
            content = file.read_bytes()
            is_source = not set(BESIDE) & set(file.parts)
            if is_source and (os.access(file, os.X_OK) or DYNAMIC.search(content)):
                return None
            whole.update(f"\0{file}\0{hashlib.sha256(content).hexdigest()}".encode())
    except OSError:
        return None  # the reader says what is wrong
    return whole.hexdigest()


def _readers_version() -> str:
    """ansible-core's, without importing it, nor the parser that package metadata needs."""
    found = find_spec("ansible")
    origin = found.origin if found is not None else None
    return (Path(origin).parent / "release.py").read_text() if origin else ""


def _files(path: Path) -> Iterator[Path]:
    """Sources, and the variable files beside them and in the working directory, which Ansible reads too."""
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.is_file())
    else:
        yield path
    for base in {path.parent, Path.cwd()} - ({path} if path.is_dir() else set()):
        for name in BESIDE:
            yield from sorted(file for file in (base / name).rglob("*") if file.is_file())


def _cipher(password: Path | None) -> Callable[[bytes, bool], bytes]:
    """Encrypts (True) and decrypts with this machine's key and the vault password."""
    from cryptography.fernet import Fernet

    key = cache_folder() / "key"
    if not key.exists():
        write_private(key, os.urandom(32))
    secret = key.read_bytes() + (password.read_bytes() if password else b"")
    cipher = Fernet(base64.urlsafe_b64encode(hashlib.sha256(secret).digest()))
    return lambda content, encrypt: cipher.encrypt(content) if encrypt else cipher.decrypt(content)


def _load(kept: Path, digest: str, path: Path, password: Path | None) -> Fleet | None:
    """The kept fleet; None where it is of other files, torn, or closed to this password."""
    try:
        head, body = kept.read_bytes().split(b"\n", 1)
        was, _, how = head.decode().partition(" ")
        if was != digest:
            return None
        found = json.loads(_cipher(password)(body, False) if how == "encrypted" else body)
        hosts = tuple(FleetHost(name, tuple(groups), variables) for name, groups, variables in found["hosts"])
        groups, direct, children = (
            {name: tuple(members) for name, members in found[kind].items()} for kind in ("groups", "direct", "children")
        )
        return Fleet(path, hosts, groups, frozenset(found["secrets"]), direct, children)
    except Exception:  # whatever is wrong with what we kept: it is only kept
        return None


def _keep(kept: Path, digest: str, fleet: Fleet, password: Path | None) -> None:
    hosts = [[host.name, host.groups, host.variables] for host in fleet.hosts]
    try:
        named = {"groups": fleet.groups, "direct": fleet.direct, "children": fleet.children}
        body = json.dumps({"hosts": hosts, **named, "secrets": sorted(fleet.secrets)}).encode()
        if json.loads(body)["hosts"] != [[name, list(groups), variables] for name, groups, variables in hosts]:
            return  # a value that JSON cannot hold as it is
        if fleet.secrets:
            body = _cipher(password)(body, True)
        write_private(kept, f"{digest} {'encrypted' if fleet.secrets else 'plain'}\n".encode() + body)
    except (OSError, TypeError, ValueError):
        return


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
        found = read(fleet.path, password).match(pattern)
        if "@" not in pattern:  # a file of names is not part of the inventory
            with suppress(OSError):
                write_private(answers, json.dumps({"digest": digest, "known": {**known, pattern: found}}).encode())
        return found

    return replace(fleet, match=match)
