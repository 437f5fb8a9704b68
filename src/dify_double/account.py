"""Setup, login, cookies, CSRF and lockout of one administrator."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import Any

from .json_object import JsonObject
from .model_providers import State, new_id
from .routes import Answer, Request, Route, flat, nested, ok

PASSWORD = re.compile(r"^(?=.*[a-zA-Z])(?=.*\d).{8,}$")
TRIES = 5


class ConsoleAccount:
    """The administrator and the workspace, over `state["admin"]`, `state["sessions"]` (access token to csrf) and
    `state["tries"]` (e-mail to count).
    """

    def __init__(self, state: State, init_password: str, now: Any, release: tuple[int, ...] = (1, 16, 1)) -> None:
        self.state, self.init_password, self.now = state, init_password, now
        self.base64, self.cookies = release >= (1, 11, 2), release >= (1, 9, 2)

    def routes(self) -> list[Route]:
        """Return the routes of setup, login and the workspace."""
        return [
            Route("GET", "/setup", self.setup_status),
            Route("POST", "/setup", self.setup),
            Route("GET", "/init", self.init_status),
            Route("POST", "/init", self.init),
            Route("POST", "/login", self.login),
            Route("POST", "/refresh-token", self.refresh),
            Route("POST", "/logout", self.logout),
            Route("GET", "/account/profile", self.profile),
            Route("POST", "/workspaces/current", lambda _: ok(self.workspace())),
            Route("GET", "/workspaces", self.workspaces),
            Route("POST", "/workspaces/info", self.name_workspace),
        ]

    def setup_status(self, _: Request) -> Answer:
        """Say whether somebody set it up."""
        done = self.state["admin"] is not None
        return 200, [], {"step": "finished" if done else "not_started", "setup_at": self.state["setup_at"]}

    def init_status(self, _: Request) -> Answer:
        """Say whether the init password was given, or is not asked for."""
        done = not self.init_password or self.state["admin"] is not None
        return 200, [], {"status": "finished" if done else "not_started"}

    def init(self, request: Request) -> Answer:
        """Take the init password."""
        session = "session=%s; HttpOnly; Path=/" % secrets.token_hex(8)
        if request.body.get("password") != self.init_password:
            status, _, answer = nested(401, "authentication_error", "Unauthorized")
            return status, [session], answer
        self.state["init_sessions"].append(session.split(";")[0])
        return 201, [session], {"result": "success"}

    def setup(self, request: Request) -> Answer:
        """Make the administrator, once."""
        body, cookies = request.body, request.cookies
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
        """Make the administrator without asking anything."""
        self.state["admin"] = {"id": new_id(), "email": email, "name": name, "password": password, "at": self.now()}
        self.state["setup_at"] = self.now()

    def login(self, request: Request) -> Answer:
        """Log in; too many wrong tries of one address lock it out."""
        body = request.body
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
        """Return fresh tokens as cookies; before 1.9.2 in the body (read in the source, not recorded)."""
        made = self.new_cookies()
        if self.cookies:
            return 200, made, {"result": "success"}
        access, refresh = (cookie.split(";")[0].partition("=")[2] for cookie in made[:2])
        return 200, [], {"result": "success", "data": {"access_token": access, "refresh_token": refresh}}

    def new_cookies(self) -> list[str]:
        """Begin a session; return its Set-Cookie values: access token, refresh token, CSRF token."""
        access, refresh, csrf = (secrets.token_hex(16) for _ in range(3))
        self.state["sessions"][access] = csrf
        self.state["refreshes"].append(refresh)
        tail = "Path=/; SameSite=Lax"
        return [
            "access_token=%s; Max-Age=3600; HttpOnly; %s" % (access, tail),
            "refresh_token=%s; Max-Age=2592000; HttpOnly; %s" % (refresh, tail),
            "csrf_token=%s; Max-Age=3600; %s" % (csrf, tail),
        ]

    def refresh(self, request: Request) -> Answer:
        """Trade a refresh token for fresh tokens."""
        shown = (request.cookies if self.cookies else request.body).get("refresh_token")
        if shown not in self.state["refreshes"]:
            return flat(401, "unauthorized", "Invalid refresh token")
        self.state["refreshes"].remove(shown)
        return self.tokens()

    def logout(self, request: Request) -> Answer:
        """End the session."""
        self.state["sessions"].pop(request.cookies.get("access_token", ""), None)
        names = ("access_token", "refresh_token", "csrf_token", "session")
        return (
            200,
            ["%s=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/" % name for name in names],
            {"result": "success"},
        )

    def refusal(self, headers: dict[str, str], cookies: dict[str, str]) -> Answer | None:
        """Return None for a logged-in request with a valid CSRF token, else the answer that refuses it."""
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

    def profile(self, _: Request) -> Answer:
        """Say who is logged in: there is one administrator."""
        admin = self.state["admin"]
        return ok(
            {
                "avatar": None,
                "id": admin["id"],
                "name": admin["name"],
                "email": admin["email"],
                "is_password_set": True,
                "interface_language": "en-US",
                "interface_theme": "light",
                "timezone": "America/New_York",
                "last_login_at": 0,
                "last_login_ip": "127.0.0.1",
                "created_at": 0,
                "avatar_url": None,
            }
        )

    def workspaces(self, _: Request) -> Answer:
        """List the one workspace."""
        current = self.workspace()
        kept = {key: current[key] for key in ("id", "name", "status", "created_at")}
        return ok({"workspaces": [{**kept, "plan": "sandbox", "last_opened_at": 0, "current": True}]})

    def name_workspace(self, request: Request) -> Answer:
        """Give the workspace another name."""
        self.state["workspace"] = request.body["name"]
        return ok({"result": "success", "tenant": self.workspace()})

    def workspace(self) -> JsonObject:
        """Return the workspace as the API shows it."""
        empty = (
            "in_trial",
            "trial_end_reason",
            "custom_config",
            "trial_credits",
            "trial_credits_used",
            "trial_credits_exhausted_at",
            "next_credit_reset_date",
        )
        name = self.state.get("workspace") or "%s's Workspace" % self.state["admin"]["name"]
        return {
            "id": self.state["tenant"],
            "name": name,
            "plan": None,
            "status": "normal",
            "created_at": 0,
            "role": "owner",
            **dict.fromkeys(empty),
        }
