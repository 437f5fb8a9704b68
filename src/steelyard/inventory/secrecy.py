"""Texts out of a vault that are masked wherever they appear.

Who encrypts a value by itself means that value. Who encrypts a file whole encrypts its ports, its truths and its user
names with it, and masks of those would leave nothing to read. So of such a file, and of what templates make of it, a
text is masked everywhere where a key that leads to it says that it is a secret, or where it has eight letters and more
and is neither a name of this inventory nor said in the clear elsewhere in it. What is shorter is still hidden in its
own place, and nothing of it is kept in the clear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .fleet import FleetHost
from .resolver import VaultText, leaves

TELLING = re.compile(
    r"(^|[_-])(api_?keys?|keys?|pass|passwd|passwords?|passphrase|psk|pins?|secrets?|tokens?|credentials?|become_pass)$",
    re.IGNORECASE,
)
OPEN = frozenset(["ansible_host", "ansible_user", "ansible_ssh_host", "ansible_ssh_user", "ansible_port"])
SHORTEST = 8  # letters of a text that no key calls a secret


def masked_everywhere(hosts: Iterable[FleetHost], secrets: Iterable[VaultText], names: Iterable[str]) -> frozenset[str]:
    """Return the texts to mask. `names` are those of hosts and groups."""
    alone, whole = set[str](), list[VaultText]()
    for secret in secrets:
        if secret.alone or any(TELLING.search(str(key)) for key in secret.keys):
            alone.add(secret.text)
        else:
            whole.append(secret)
    asked = {secret.text for secret in whole if len(secret.text) >= SHORTEST and secret.keys[-1] not in OPEN}
    if asked:
        asked -= set(names)
        asked -= _said_in_the_clear(hosts)
    return frozenset(alone | asked) - {""}


def _said_in_the_clear(hosts: Iterable[FleetHost]) -> set[str]:
    said = set[str]()
    for host in hosts:
        for name, value in host.variables.items():
            said |= {text for keys, text in leaves(value, (name,)) if keys not in host.hidden}
    return said
