"""Variables of an inventory that are read here. An inventory of Ansible's has many more, and what they hold is its own
business.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from .connection_variables import NAMES

# pyinfra's own names too: an inventory may say them
PYINFRAS = ("ssh_hostname", "ssh_port", "ssh_user", "ssh_key", "ssh_password", "_sudo", "_sudo_user", "_sudo_password")
CONNECTION = frozenset([*NAMES, *PYINFRAS])
CONNECTING = ("ansible_ssh_", "ansible_become")  # beginnings of what ssh and become plugins of Ansible's read
# beside the sections of roles
OTHERS = ("models", "model_root", "rack", "hf_token", "hf_mirrors", "dify_secrets")
NAMESPACE = "steelyard"  # a variable that holds all of ours: then the bare names are other tools'
OURS = f"{NAMESPACE}_"  # host variables of the connector, and ours beside another tool's of the same name


@lru_cache
def sections() -> frozenset[str]:
    """The sections of roles, each named as its folder; found without loading one."""
    spec = find_spec("steelyard.roles")
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()] if spec is not None else []
    return frozenset(path.parent.name for folder in folders for path in folder.glob("*/settings.py"))


def ours() -> frozenset[str]:
    """The names that another tool may use too, so that they have a form of their own in our namespace."""
    return sections() | frozenset(OTHERS)


def is_read(name: str, known: Iterable[str]) -> bool:
    """Whether a variable is one of the sections `known`, part of a connection, or one of the few others."""
    return (
        name in known
        or name in CONNECTION
        or name in OTHERS
        or name == NAMESPACE
        or name.startswith((OURS, *CONNECTING))
    )
