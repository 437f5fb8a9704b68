"""Dify's console API over HTTP: one login per process, cookies and CSRF by hand, errors in Dify's own words.

Facts: dify.md section 1. A password is sent once: after five wrong ones Dify locks the account for a day. From 1.11.2
on it is sent in base64. Cookie names may carry `__Host-`, and a cookie jar would not send those over http.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from steelyard.errors import DifyLoginRefused, DifyRefused, DifyUnreachable

TIMEOUT_S = 330  # Dify itself waits 300 s for an endpoint while it validates
BASE64_SINCE = (1, 11, 2)


@dataclass(frozen=True)
class DifyAccess:
    """Where and as whom. Secrets are kept out of its text."""

    url: str
    email: str
    password: str = field(repr=False)
    admin_key: str | None = field(default=None, repr=False)
    workspace: str | None = None


class DifyClient:
    """Talks to one Dify. `writes` counts requests that changed or could change something there."""

    def __init__(self, access: DifyAccess) -> None:
        self._access = access
        self._cookies: dict[str, str] = {}
        self._refused: DifyLoginRefused | None = None
        self.reads = 0
        self.writes = 0
        self.logins = 0

    @property
    def where(self) -> str:
        return f"{self._access.url}/console/api"

    def get(self, path: str) -> Any:
        """Decoded answer. Raises DifyUnreachable, DifyLoginRefused, DifyRefused."""
        self._log_in()
        self.reads += 1
        return self._checked("GET", path, None)

    def send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Like `get`, for requests that change something."""
        self._log_in()
        self.writes += 1
        return self._checked(method, path, body)

    def models(self, provider: str) -> list[dict[str, Any]]:
        """Every model of a provider as Dify lists it. Raises like `get`."""
        found: list[dict[str, Any]] = self.get(f"/workspaces/current/model-providers/{provider}/models")["data"]
        return found

    def _checked(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        status, answer = self._request(method, path, body)
        if status >= 400:
            call = f"{method} {path.split('?')[0]}"
            raise DifyRefused(where=self.where, call=call, status=str(status), why=message_of(answer))
        return answer

    def _log_in(self) -> None:
        if self._refused is not None:
            raise self._refused
        if self._cookies or self._access.admin_key is not None:
            return
        self.logins += 1
        secret = self._access.password
        if self._version() >= BASE64_SINCE:
            secret = base64.b64encode(secret.encode()).decode()
        body = {"email": self._access.email, "password": secret, "remember_me": True}
        status, answer = self._request("POST", "/login", body)
        if status != 200:
            self._refused = DifyLoginRefused(where=self.where, email=self._access.email, why=message_of(answer))
            raise self._refused

    def _version(self) -> tuple[int, ...]:
        """The server's version; the newest known where it does not say."""
        status, answer = self._request("GET", "/version?current_version=0.0.0", None)
        text = str(answer.get("version", "")) if status == 200 and isinstance(answer, dict) else ""
        try:
            return tuple(int(part) for part in text.split("-")[0].split(".")) if text else BASE64_SINCE
        except ValueError:
            return BASE64_SINCE

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._access.admin_key is not None:
            headers |= {"Authorization": f"Bearer {self._access.admin_key}", "X-WORKSPACE-ID": self._access.workspace or ""}
        elif self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
            token = next((value for name, value in self._cookies.items() if name.endswith("csrf_token")), "")
            headers["X-CSRF-Token"] = token
        return headers

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        target = urllib.parse.urlsplit(self.where)
        kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
        connection = kind(target.hostname or "", target.port, timeout=TIMEOUT_S)
        try:
            data = json.dumps(body).encode() if body is not None else None
            connection.request(method, target.path + path, data, self._headers())
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DifyUnreachable(where=self.where, why=why.lower()) from error
        finally:
            connection.close()
        for header, value in answer.getheaders():
            if header.lower() == "set-cookie":
                name, _, rest = value.partition("=")
                self._cookies[name.strip()] = rest.split(";", 1)[0]
        try:
            return answer.status, json.loads(content) if content else None
        except ValueError:
            return answer.status, {"message": content[:200].decode(errors="replace")}


def message_of(answer: Any) -> str:
    """Dify's own words, from either of its two error shapes."""
    if isinstance(answer, dict):
        inner = answer.get("error")
        if isinstance(inner, dict):
            answer = inner
        return str(answer.get("message") or answer.get("code") or answer)
    return str(answer)
