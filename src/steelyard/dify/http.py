"""HTTP to Dify as values: a request goes out, status, headers and decoded body come back, uninterpreted."""

from __future__ import annotations

import html
import http.client
import json
import re
import secrets
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from steelyard.errors import DifyUnreachable

TIMEOUT_S = 330  # Dify itself waits 300 s for an endpoint while it validates
GATEWAY = (502, 503, 504)  # what a proxy says, in no JSON, where Dify's API does not answer it


@dataclass(frozen=True)
class HttpResponse:
    """`body` is decoded JSON, None where it was empty, `{"message": ...}` where it was no JSON: one line of text."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Any = field(repr=False)

    def header(self, name: str) -> str | None:
        """The first header of this name, in any case of letters; None where there is none."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)

    def cookies(self) -> dict[str, str]:
        """The cookies that the response sets, name to value."""
        pairs = (value.partition("=") for known, value in self.headers if known.lower() == "set-cookie")
        return {name.strip(): rest.split(";", 1)[0] for name, _, rest in pairs}


@dataclass(frozen=True)
class UploadFile:
    """One file of a multipart form."""

    name: str
    content: bytes = field(repr=False)
    kind: str = "application/octet-stream"


def exchange(
    base: str, method: str, path: str, body: Any, headers: dict[str, str], timeout: float = TIMEOUT_S
) -> HttpResponse:
    """One request. `body` is None, JSON, or a form: a dict of names to texts and at least one File. Raises
    DifyUnreachable.
    """
    target = urllib.parse.urlsplit(base)
    data, kind = _encoded(body)
    maker = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    connection = maker(target.hostname or "", target.port, timeout=timeout)
    try:
        connection.request(
            method, target.path + path, data, {"Accept": "application/json", "Content-Type": kind, **headers}
        )
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DifyUnreachable(where=base, why=why.lower()) from error
    finally:
        connection.close()
    try:
        decoded: Any = json.loads(content) if content else None
    except ValueError as error:
        if answer.status in GATEWAY:
            raise DifyUnreachable(where=base, why=f"the proxy before it says {answer.status}") from error
        decoded = {"message": _in_words(content)}
    return HttpResponse(answer.status, tuple(answer.getheaders()), decoded)


def _in_words(content: bytes) -> str:
    """What an answer that is no JSON says, in one line: a page of HTML by its title, for it is never shown itself."""
    text = content[:4000].decode(errors="replace")
    if text.lstrip()[:1] == "<":
        title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
        shown = " ".join(html.unescape(title[1]).split())[:80] if title else ""
        return f"a page of HTML, `{shown}`" if shown else "a page of HTML"
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:200]


def _encoded(body: Any) -> tuple[bytes | None, str]:
    if isinstance(body, dict) and any(isinstance(value, UploadFile) for value in body.values()):
        mark = "steelyard" + secrets.token_hex(8)
        parts = [f"--{mark}\r\n".encode() + _part(name, value) for name, value in body.items()]
        return b"".join(parts) + f"--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"
    return (json.dumps(body).encode() if body is not None else None), "application/json"


def _part(name: str, value: UploadFile | str) -> bytes:
    """One entry of a multipart form, after its mark."""
    head = f'Content-Disposition: form-data; name="{name}"'
    if isinstance(value, str):
        return f"{head}\r\n\r\n{value}\r\n".encode()
    return f'{head}; filename="{value.name}"\r\nContent-Type: {value.kind}\r\n\r\n'.encode() + value.content + b"\r\n"


def message_of(answer: Any) -> str:
    """Dify's own words, from either of its two error shapes."""
    if isinstance(answer, dict):
        inner = answer.get("error")
        if isinstance(inner, dict):
            answer = inner
        return str(answer.get("message") or answer.get("code") or answer)
    return str(answer)


def code_of(answer: Any) -> str:
    """Dify's own word for an error, from any of its shapes; empty where it gave none."""
    if isinstance(answer, dict):
        return str(answer.get("code") or answer.get("custom") or "")
    return ""
