"""Masks of secrets: every string that leaves passes through here, so no secret is ever shown."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterable

MASK = "********"
SHORTEST_INSIDE = 8  # what base64 has of a shorter one inside a longer text may be anything
SHORTEST_LINE = 12  # a shorter line of a longer secret may be anything
UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
SHORTEST = 4  # shorter ones would mask half of every sentence


def in_json(text: str) -> str:
    """The text as it stands inside a string of JSON."""
    return json.dumps(text)[1:-1]


def in_json_of_utf8(text: str) -> str:
    """The same where letters stay letters."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def in_xml(text: str) -> str:
    """The text as it stands in XML, in an attribute too."""
    # the libraries that do this load urllib, email, or a table of 2,000 names at the start of every command
    for letter, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(letter, name)
    return text


def in_url(text: str) -> set[str]:
    """The text as it stands in a URL, where its slashes may stay, or in a form that is sent, where `+` is a space."""
    forms = set()
    for plain in (UNRESERVED, UNRESERVED + b"/"):
        form = "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in text.encode(errors="replace"))
        forms |= {form, form.replace("%20", "+"), re.sub("%..", lambda code: code[0].lower(), form)}
    return forms


def in_shell(text: str) -> set[str]:
    """The text as it stands between quotes of a shell, and of Python."""
    return {text.replace("'", "'\"'\"'"), repr(text)[1:-1]}


def lines_of(text: str) -> set[str]:
    """The lines of a text, which a diff or a log shows one by one; those that mark a beginning and an end are known."""
    lines = {line.strip() for line in text.splitlines()} if "\n" in text else set()
    return {line for line in lines if len(line) >= SHORTEST_LINE and not line.startswith("-----")}


def in_base64(text: str) -> set[str]:
    """The letters that base64 has for the text alone, and wherever it begins in a longer one, as in a header with a
    name before it.
    """
    content = text.encode(errors="replace")
    alone = binascii.b2a_base64(content, newline=False).decode().rstrip("=")
    if len(content) < SHORTEST_INSIDE:
        return {alone}
    inside = {alone[: len(content) // 3 * 4]}
    for before, first in ((1, 2), (2, 3)):  # bytes before it in its group of three, and letters that they have part in
        letters = binascii.b2a_base64(b"\0" * before + content, newline=False).decode()
        inside.add(letters[first : (len(content) + before) // 3 * 4])
    forms = {alone, *inside}
    return forms | {form.replace("+", "-").replace("/", "_") for form in forms}  # as URLs have it


class Redactor:
    """Replaces known secrets, the longest first, so that one inside another leaves no rest. As they are, and as JSON,
    XML, URLs, shells and base64 write them; of one with several lines each line.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        texts = {secret for secret in secrets if len(secret) >= SHORTEST}
        texts |= {line for text in texts for line in lines_of(text)}
        everywhere = texts | {written(text) for text in texts for written in (in_json, in_json_of_utf8, in_xml)}
        everywhere |= {form for text in texts for written in (in_url, in_shell, in_base64) for form in written(text)}
        self._secrets = sorted(everywhere, key=len, reverse=True)

    def mask(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return text
