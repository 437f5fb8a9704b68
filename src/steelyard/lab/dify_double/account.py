"""Setup, login, cookies, CSRF and lockout of one administrator."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import Any

from .models import State, new_id

PASSWORD = re.compile(r"^(?=.*[a-zA-Z])(?=.*\d).{8,}$")
TRIES = 5
Answer = tuple[int, list[str], Any]


def nested(status: int, kind: str, message: str, **more: Any) -> Answer:
    """The error shape of /setup and /init."""
    return status, [], {"error": {"type": kind, "message": message, "status": status, **more}}


def flat(status: int, code: str, message: str) -> Answer:
    """The error shape of everything else."""
    return status, [], {"code": code, "message": message, "status": status}


class Account:
    """Works on `state["admin"]`, `state["sessions"]` (access token to csrf) and `state["tries"]` (e-mail to count)."""

    def __init__(self, state: State, init_password: str, now: Any, release: tuple[int, ...] = (1, 16, 1)) -> None:
        self.state, self.init_password, self.now = state, init_password, now
        self.base64, self.cookies = release >= (1, 11, 2), release >= (1, 9, 2)

    def setup_status(self) -> Answer:
        done = self.state["admin"] is not None
        return 200, [], {"step": "finished" if done else "not_started", "setup_at": self.state["setup_at"]}

    def init_status(self) -> Answer:
        done = not self.init_password or self.state["admin"] is not None
        return 200, [], {"status": "finished" if done else "not_started"}

    def init(self, body: dict[str, Any]) -> Answer:
        session = "session=%s; HttpOnly; Path=/" % secrets.token_hex(8)
        if body.get("password") != self.init_password:
            status, _, answer = nested(401, "authentication_error", "Unauthorized")
            return status, [session], answer
        self.state["init_sessions"].append(session.split(";")[0])
        return 201, [session], {"result": "success"}

    def setup(self, body: dict[str, Any], cookies: dict[str, str]) -> Answer:
        if self.state["admin"] is not None:
            return nested(403, "authorization_error", "Forbidden")
        if self.init_password and "session=" + cookies.get("session", "") not in self.state["init_sessions"]:
            return nested(401, "authentication_error", "Unauthorized")
        if not PASSWORD.match(body.get("password", "")):
            text = "Validation error for parameter 'payload'"
            return nested(422, "validation_error", text, details=text)
        self.create_admin(body["email"], body["name"], body["password"])
        return 201, [], {"result": "success"}

    def create_admin(self, email: str, name: str, password: str) -> None:
        self.state["admin"] = {"id": new_id(), "email": email, "name": name, "password": password, "at": self.now()}
        self.state["setup_at"] = self.now()

    def login(self, body: dict[str, Any]) -> Answer:
        email = body.get("email", "")
        if self.state["tries"].get(email, 0) > TRIES:
            text = "Too many incorrect password attempts. Please try again later."
            return flat(429, "email_code_login_limit", text)
        password = body.get("password", "")
        try:
            if self.base64:
                password = base64.b64decode(password, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return flat(401, "authentication_failed", "Invalid encrypted data")
        admin = self.state["admin"]
        if admin is None or (email, password) != (admin["email"], admin["password"]):
            self.state["tries"][email] = self.state["tries"].get(email, 0) + 1
            return flat(401, "authentication_failed", "Invalid email or password.")
        self.state["tries"].pop(email, None)
        return self.tokens()

    def tokens(self) -> Answer:
        """As cookies; before 1.9.2 in the body (read in the source, not recorded)."""
        made = self.new_cookies()
        if self.cookies:
            return 200, made, {"result": "success"}
        access, refresh = (each.split(";")[0].partition("=")[2] for each in made[:2])
        return 200, [], {"result": "success", "data": {"access_token": access, "refresh_token": refresh}}

    def new_cookies(self) -> list[str]:
        access, refresh, csrf = (secrets.token_hex(16) for _ in range(3))
        self.state["sessions"][access] = csrf
        self.state["refreshes"].append(refresh)
        tail = "Path=/; SameSite=Lax"
        return [
            "access_token=%s; Max-Age=3600; HttpOnly; %s" % (access, tail),
            "refresh_token=%s; Max-Age=2592000; HttpOnly; %s" % (refresh, tail),
            "csrf_token=%s; Max-Age=3600; %s" % (csrf, tail),
        ]

    def refresh(self, cookies: dict[str, str], body: dict[str, Any]) -> Answer:
        shown = cookies.get("refresh_token") if self.cookies else body.get("refresh_token")
        if shown not in self.state["refreshes"]:
            return flat(401, "unauthorized", "Invalid refresh token")
        self.state["refreshes"].remove(shown)
        return self.tokens()

    def logout(self, cookies: dict[str, str]) -> Answer:
        self.state["sessions"].pop(cookies.get("access_token", ""), None)
        names = ("access_token", "refresh_token", "csrf_token", "session")
        return 200, ["%s=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/" % name for name in names], {"result": "success"}

    def refusal(self, headers: dict[str, str], cookies: dict[str, str]) -> Answer | None:
        """None for a logged-in request with a valid CSRF token, else the answer that refuses it."""
        bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
        token = cookies.get("access_token") or bearer
        if token not in self.state["sessions"]:
            return flat(401, "unauthorized", "Invalid Authorization token.")
        if not self.cookies:
            return None
        shown = headers.get("x-csrf-token", "")
        if not shown or shown != cookies.get("csrf_token") or shown not in self.state["sessions"].values():
            status, _, answer = flat(401, "unauthorized", "CSRF token is missing or invalid.")
            fresh = (
                ["session=%s; HttpOnly; Path=/" % secrets.token_hex(8)]
                if cookies and "csrf_token" in cookies and not shown
                else []
            )
            return status, fresh, answer
        return None

    def profile(self) -> dict[str, Any]:
        admin = self.state["admin"]
        return {"avatar": None, "id": admin["id"], "name": admin["name"], "email": admin["email"], "is_password_set": True,
                "interface_language": "en-US", "interface_theme": "light", "timezone": "America/New_York",
                "last_login_at": 0, "last_login_ip": "127.0.0.1", "created_at": 0, "avatar_url": None}  # fmt: skip

    def workspace(self) -> dict[str, Any]:
        empty = ("in_trial", "trial_end_reason", "custom_config", "trial_credits", "trial_credits_used",
                 "trial_credits_exhausted_at", "next_credit_reset_date")  # fmt: skip
        name = self.state.get("workspace") or "%s's Workspace" % self.state["admin"]["name"]
        return {"id": self.state["tenant"], "name": name, "plan": None,
                "status": "normal", "created_at": 0, "role": "owner", **dict.fromkeys(empty)}  # fmt: skip
