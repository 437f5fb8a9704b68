"""Dify's console API: one login per process, cookies and CSRF by hand, errors in Dify's own words.

A password that was refused is not sent again, in this run nor in another: after six wrong ones Dify locks the account
for a day. How it is sent depends on the release, so that is asked first. Cookie names may carry `__Host-`, and a cookie
jar would not send those over http.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from steelyard.errors import DifyAdminKeyRefused, DifyPasswordRefusedBefore, DifyRefused, DifyTooOld, SteelyardError

from .console import ListedModel
from .http import HttpResponse, code_of, exchange, message_of
from .login import is_wrong_password, login_error
from .refused_logins import RefusedLogins
from .release import NEWEST_KNOWN, DifyVersion, release_of


@dataclass(frozen=True)
class DifyAccess:
    """Address and login of one Dify. Secrets are kept out of its text. `release` is the one we installed, if we did."""

    url: str
    email: str
    password: str = field(repr=False)
    admin_key: str | None = field(default=None, repr=False)
    workspace: str | None = None
    release: str | None = None


class DifyClient:
    """Talks to one Dify. `writes` counts requests that changed or could change something there."""

    def __init__(self, access: DifyAccess, remembered: RefusedLogins | None = None) -> None:
        self.access = access
        self._remembered = remembered or RefusedLogins()
        self._cookies: dict[str, str] = {}
        self._bearer: str | None = access.admin_key
        self._refused: SteelyardError | None = None
        self._release: DifyVersion | None = None
        self._ahead_s = 0.0
        self._said: DifyVersion | None = None
        self.reads = 0
        self.writes = 0
        self.logins = 0

    @property
    def where(self) -> str:
        """The address of the console's API, for errors."""
        return f"{self.access.url}/console/api"

    def get(self, path: str) -> Any:
        """Decoded answer. Raises DifyUnreachable, DifyTooOld, DifyRefused, and what `login_error` makes of a login."""
        self.reads += 1
        return self._logged_in("GET", path, None)

    def look_up(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        """The decoded answer as of `get`, for the questions that Dify wants as POST."""
        self.reads += 1
        return self._logged_in("POST", path, body)

    def send(self, method: str, path: str, body: Any) -> Any:
        """The decoded answer as of `get`, for requests that change something."""
        self.writes += 1
        return self._logged_in(method, path, body)

    def open_get(self, path: str) -> Any:
        """The decoded answer as of `get`, where no login is needed: before there is an account."""
        self.reads += 1
        return self._checked(self._request("GET", path, None), "GET", path)

    def open_send(self, path: str, body: Mapping[str, object]) -> Any:
        """A POST without a login: first-run setup. Cookies it sets are kept for the next."""
        self.writes += 1
        answer = self._request("POST", path, body)
        self._cookies |= answer.cookies()
        return self._checked(answer, "POST", path)

    def release(self) -> DifyVersion:
        """The server's release: from its answers' header, because /version may name the newest one that there is."""
        if self._release is None:
            answer = self._request("GET", "/version?current_version=0.0.0", None)
            version = answer.body.get("version") if answer.status == 200 and isinstance(answer.body, dict) else None
            self._said = release_of(answer.header("X-Version"))
            known = (self.access.release, version)
            self._release = self._said or next(filter(None, map(release_of, known)), NEWEST_KNOWN)
        return self._release

    def clock(self) -> float:
        """The moment by the server's clock, in seconds of the epoch; by ours before its first answer."""
        return time.time() + self._ahead_s

    def preserves_credentials(self) -> bool:
        """Whether the server keeps credentials when asked to. Only its own word counts: a guess would lose them."""
        self.release()
        return self._said is not None and self._said.preserves_credentials

    def models(self, provider: str) -> list[ListedModel]:
        """Every model of a provider as Dify lists it. Raises like `get`."""
        listed: list[ListedModel] = self.get(f"/workspaces/current/model-providers/{provider}/models")["data"]
        return listed

    def _logged_in(self, method: str, path: str, body: Any) -> Any:
        self._log_in()
        answer = self._request(method, path, body)
        if answer.status == 401 and self.access.admin_key is not None:
            workspace, why = self.access.workspace or "", message_of(answer.body)
            raise DifyAdminKeyRefused(where=self.where, workspace=workspace, why=why)
        if answer.status == 401 and self._refreshed():
            answer = self._request(method, path, body)
        return self._checked(answer, method, path)

    def _checked(self, answer: HttpResponse, method: str, path: str) -> Any:
        if answer.status >= 400:
            call = f"{method} {path.split('?')[0]}"
            status, why = str(answer.status), message_of(answer.body)
            raise DifyRefused(where=self.where, call=call, status=status, why=why, code=code_of(answer.body))
        return answer.body

    def _log_in(self) -> None:
        if self._refused is not None:
            raise self._refused
        if self._bearer is not None or any(name.endswith("access_token") for name in self._cookies):
            return
        release = self.release()
        if not release.named_credentials:
            raise DifyTooOld(where=self.where, version=str(release))
        url, email = self.access.url, self.access.email
        with self._remembered.turn(url, email):
            at = self._remembered.refused_at(url, email, self.access.password)
            if at is None:
                self._send_password(release)
            else:
                self._refused = DifyPasswordRefusedBefore(where=self.where, email=email, at=at)
        if self._refused is not None:
            raise self._refused

    def _send_password(self, release: DifyVersion) -> None:
        """Log in, or note why not. Raises DifyUnreachable."""
        self.logins += 1
        url, email, secret = self.access.url, self.access.email, self.access.password
        if release.base64_password:
            secret = base64.b64encode(secret.encode()).decode()
        answer = self._request("POST", "/login", {"email": email, "password": secret, "remember_me": True})
        self._refused = login_error(answer, self.where, email)
        if is_wrong_password(answer):
            self._remembered.note(url, email, self.access.password)
        if self._refused is None:
            self._remembered.forget(url, email)
            self._take_tokens(answer)

    def forget_refusal(self) -> None:
        """Take the declared password for one that Dify may have by now: the next request sends it."""
        self._refused = None
        self._remembered.forget(self.access.url, self.access.email)

    def _refreshed(self) -> bool:
        """True where a token that ran out was renewed: access lasts an hour."""
        renew = next((value for name, value in self._cookies.items() if name.endswith("refresh_token")), None)
        if self.access.admin_key is not None or renew is None:
            return False
        body = None if self.release().cookies else {"refresh_token": renew}
        answer = self._request("POST", "/refresh-token", body)
        if answer.status == 200:
            self._take_tokens(answer)
        return answer.status == 200

    def _take_tokens(self, answer: HttpResponse) -> None:
        self._cookies |= answer.cookies()
        data = answer.body.get("data") if isinstance(answer.body, dict) else None
        if not self.release().cookies and isinstance(data, dict):
            self._bearer = str(data["access_token"])
            self._cookies["refresh_token"] = str(data.get("refresh_token", ""))

    def _headers(self) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self._bearer}"} if self._bearer is not None else {}
        if self.access.admin_key is not None:
            headers["X-WORKSPACE-ID"] = self.access.workspace or ""
        elif self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
            token = next((value for name, value in self._cookies.items() if name.endswith("csrf_token")), "")
            headers["X-CSRF-Token"] = token
        return headers

    def _request(self, method: str, path: str, body: Any) -> HttpResponse:
        answer = exchange(self.where, method, path, body, self._headers())
        self._cookies |= {name: value for name, value in answer.cookies().items() if value}
        self._ahead_s = clock_ahead(answer.header("Date"), self._ahead_s)
        return answer


def clock_ahead(date: str | None, before: float) -> float:
    """Seconds by which a server's clock is before ours, by the Date of its answer; `before` where it has none."""
    try:
        return parsedate_to_datetime(date or "").timestamp() - time.time()
    except ValueError:
        return before
