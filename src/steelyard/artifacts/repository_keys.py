"""Fingerprints of OpenPGP public keys, so that a repository's key is known before a host trusts it. Source: RFC 4880,
12.2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import lru_cache
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from steelyard.errors import KeyNotTrusted

PUBLIC_KEY = 6


def dearmoured(content: bytes) -> bytes:
    """The binary packets of an armoured key; binary ones as they are. Raises ValueError."""
    armour = re.search(
        rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n(.*?)(?:\r?\n=[^\r\n]+)?\r?\n-----END",
        content,
        re.S,
    )
    if armour is None:
        return content
    try:
        return base64.b64decode(re.sub(rb"\s", b"", armour[1]))
    except binascii.Error as error:
        raise ValueError("the armour is broken") from error


def fingerprints(content: bytes) -> tuple[str, ...]:
    """The fingerprint of every primary public key (version 4) in a key file: 40 hexadecimal digits each.

    Raises ValueError.
    """
    data, at, primary = dearmoured(content), 0, []
    while at < len(data):
        tag, body, at = _packet(data, at)
        if tag == PUBLIC_KEY and body[:1] == b"\x04":
            framed = b"\x99" + len(body).to_bytes(2, "big") + body
            primary.append(hashlib.sha1(framed, usedforsecurity=False).hexdigest().upper())
    return tuple(primary)


def _packet(data: bytes, at: int) -> tuple[int, bytes, int]:
    head = data[at]
    if not head & 0x80:
        raise ValueError("this is no OpenPGP key")
    try:
        if head & 0x40:
            tag, first, at = head & 0x3F, data[at + 1], at + 2
            if first < 192:
                size = first
            elif first < 224:
                size, at = ((first - 192) << 8) + data[at] + 192, at + 1
            else:
                size, at = int.from_bytes(data[at : at + 4], "big"), at + 4
        else:
            tag, width, at = (head >> 2) & 0xF, (1, 2, 4)[head & 3], at + 1
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
    except IndexError as error:
        raise ValueError("this is no OpenPGP key") from error
    if at + size > len(data):
        raise ValueError("the key file is cut short")
    return tag, data[at : at + size], at + size


@lru_cache
def trusted_key(file: str | None, fingerprint: str, where: str, origin: str) -> bytes:
    """The key file's content, if it holds exactly the key with this fingerprint. Raises KeyNotTrusted.

    Without a file it is fetched by this machine from `origin`: hosts need no way out.
    """
    try:
        content = Path(file).expanduser().read_bytes() if file else _fetched(origin)
        held = fingerprints(content)
    except (OSError, URLError, ValueError) as error:
        reason = str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
        raise KeyNotTrusted(where=where, source=file or origin, found=reason, allowed=fingerprint) from error
    if held != (fingerprint,):
        shown = ", ".join(held) or "no key"
        raise KeyNotTrusted(where=where, source=file or origin, found=shown, allowed=fingerprint)
    return content


def _fetched(origin: str) -> bytes:
    with urlopen(origin, timeout=20) as answer:
        return bytes(answer.read(1 << 20))
