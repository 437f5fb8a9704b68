"""Setup, login, cookies, CSRF and lockout, of the owner and of every other member."""

from __future__ import annotations

import base64
import binascii
import re
import secrets

from .clock import Clock
from .json_object import JsonObject, State, new_id
from .routes import Answer, Request, Route, flat, nested, ok
from .validation import Complaints

PASSWORD = re.compile(r"^(?=.*[a-zA-Z])(?=.*\d).{8,}$")
TRIES = 5
COOKIES = ("access_token", "refresh_token", "csrf_token")


class ConsoleAccount:
    """Accounts and logins: the owner is `state["admin"]`, the others are in `state["members"]`; `state["sessions"]` is
    access token to CSRF token, `state["logins"]` access or refresh token to account, `state["tries"]` e-mail to count.
    """

    def __init__(self, state: State, init_password: str, clock: Clock, release: tuple[int, ...] = (1, 16, 1)) -> None:
        self.state, self.init_password, self.clock = state, init_password, clock
        self.base64, self.cookies = release >= (1, 11, 2), release >= (1, 9, 2)

    def routes(self) -> list[Route]:
        """Return the routes of setup and login."""
        return [
            Route("GET", "/setup", self.setup_status, open=True),
            Route("POST", "/setup", self.setup, open=True),
            Route("GET", "/init", self.init_status, open=True),
            Route("POST", "/init", self.init, open=True),
            Route("POST", "/login", self.login, open=True),
            Route("POST", "/refresh-token", self.refresh, open=True),
            Route("POST", "/logout", self.logout),
            Route("GET", "/account/profile", self.profile),
        ]

    def setup_status(self, _: Request) -> Answer:
        """Say whether somebody set it up."""
        done = self.state["admin"] is not None
        return ok({"step": "finished" if done else "not_started", "setup_at": self.state["setup_at"]})

    def init_status(self, _: Request) -> Answer:
        """Say whether the init password was given, or is not asked for."""
        done = not self.init_password or self.state["admin"] is not None
        return ok({"status": "finished" if done else "not_started"})

    def init(self, request: Request) -> Answer:
        """Take the init password."""
        session = fresh_session()
        if request.body.get("password") != self.init_password:
            status, _, answer = nested(401, "authentication_error", "Unauthorized")
            return status, [session], answer
        self.state["init_sessions"].append(session.split(";")[0])
        return 201, [session], {"result": "success"}

    def setup(self, request: Request) -> Answer:
        """Make the owner, once."""
        body, cookies = request.body, request.cookies
        if self.state["admin"] is not None:
            return nested(403, "authorization_error", "Forbidden")
        if self.init_password and "session=" + cookies.get("session", "") not in self.state["init_sessions"]:
            return nested(401, "authentication_error", "Unauthorized")
        if not body.get("email") or not body.get("name") or not PASSWORD.match(str(body.get("password"))):
            text = "Validation error for parameter 'payload'"
            return nested(422, "validation_error", text, details=text)
        self.create_admin(body["email"], body["name"], body["password"])
        return 201, [], {"result": "success"}

    def create_admin(self, email: str, name: str, password: str) -> None:
        """Make the owner without asking anything."""
        self.state["admin"] = new_account(email, name, password, "owner", self.clock.unix())
        self.state["setup_at"] = self.clock.iso()

    def accounts(self) -> list[JsonObject]:
        """Return every account, the owner first."""
        owner = self.state["admin"]
        return [*([] if owner is None else [owner]), *self.state["members"]]

    def login(self, request: Request) -> Answer:
        """Log in; too many wrong tries of one address lock it out, whether there is such an account or not."""
        body = request.body
        Complaints("LoginPayload", body).required("email", "password").text("email", "password").refuse()
        email = body["email"]
        if self.state["tries"].get(email, 0) > TRIES:
            text = "Too many incorrect password attempts. Please try again later."
            return flat(429, "email_code_login_limit", text)
        password = body["password"]
        try:
            if self.base64:
                password = base64.b64decode(password, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return flat(401, "authentication_failed", "Invalid encrypted data")
        account = next((known for known in self.accounts() if known["email"] == email), None)
        if account is None or account["password"] is None or account["password"] != password:
            self.state["tries"][email] = self.state["tries"].get(email, 0) + 1
            return flat(401, "authentication_failed", "Invalid email or password.")
        self.state["tries"].pop(email, None)
        account["login_at"] = self.clock.unix()
        return self.tokens(account["id"])

    def tokens(self, account: str) -> Answer:
        """Return fresh tokens as cookies; before 1.9.2 in the body (read in the source, not recorded)."""
        made = self.new_cookies(account)
        if self.cookies:
            return 200, made, {"result": "success"}
        access, refresh = (cookie.split(";")[0].partition("=")[2] for cookie in made[:2])
        return ok({"result": "success", "data": {"access_token": access, "refresh_token": refresh}})

    def new_cookies(self, account: str) -> list[str]:
        """Begin a session; return its Set-Cookie values: access token, refresh token, CSRF token."""
        access, refresh, csrf = (secrets.token_hex(16) for _ in range(3))
        self.state["sessions"][access] = csrf
        self.state["refreshes"].append(refresh)
        self.state["logins"] |= {access: account, refresh: account}
        tail = "Path=/; SameSite=Lax"
        return [
            "access_token=%s; Max-Age=3600; HttpOnly; %s" % (access, tail),
            "refresh_token=%s; Max-Age=2592000; HttpOnly; %s" % (refresh, tail),
            "csrf_token=%s; Max-Age=3600; %s" % (csrf, tail),
        ]

    def refresh(self, request: Request) -> Answer:
        """Trade a refresh token for fresh tokens."""
        shown = (request.cookies if self.cookies else request.body).get("refresh_token", "")
        if shown not in self.state["refreshes"]:
            return flat(401, "unauthorized", "Invalid refresh token")
        self.state["refreshes"].remove(shown)
        return self.tokens(self.state["logins"].pop(shown, None) or self.state["admin"]["id"])

    def logout(self, request: Request) -> Answer:
        """End the session."""
        access = request.cookies.get("access_token", "")
        self.state["sessions"].pop(access, None)
        self.state["logins"].pop(access, None)
        names = (*COOKIES, *(("session",) if "session" in request.cookies else ()))
        ended = ["%s=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/" % name for name in names]
        return 200, ended, {"result": "success"}

    def who(self, headers: dict[str, str], cookies: dict[str, str]) -> tuple[JsonObject | Answer, list[str]]:
        """Return whose request this is, or the answer that refuses it; and Set-Cookie values for either.

        A session that has seen only the init password is marked when a login comes with it.
        """
        bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
        token = cookies.get("access_token") or bearer
        if token not in self.state["sessions"]:
            # the words for a token that is none were recorded with an administrator's key
            refusal = "Invalid token." if token else "Invalid Authorization token."
            return flat(401, "unauthorized", refusal), []
        known = "session=" + cookies.get("session", "") in self.state["init_sessions"]
        marked = [fresh_session()] if known else []
        shown = headers.get("x-csrf-token", "")
        wrong = not shown or shown != cookies.get("csrf_token") or shown not in self.state["sessions"].values()
        if self.cookies and wrong:
            return flat(401, "unauthorized", "CSRF token is missing or invalid."), marked
        account = self.state["logins"].get(token)
        return next((known for known in self.accounts() if known["id"] == account), self.state["admin"]), marked

    def profile(self, request: Request) -> Answer:
        """Say who is logged in."""
        account = request.account
        return ok(
            {
                "avatar": None,
                "id": account["id"],
                "name": account["name"],
                "email": account["email"],
                "is_password_set": account["password"] is not None,
                "interface_language": account.get("language", "en-US"),
                "interface_theme": "light",
                "timezone": account.get("timezone", "America/New_York"),
                "last_login_at": account.get("login_at"),
                "last_login_ip": "127.0.0.1",
                "created_at": account["at"],
                "avatar_url": None,
            }
        )


def new_account(email: str, name: str, password: str | None, role: str, at: int) -> JsonObject:
    """Return an account; one without a password cannot log in by password."""
    return {"id": new_id(), "email": email, "name": name, "password": password, "role": role, "at": at}


def fresh_session() -> str:
    """Return the Set-Cookie value of a new flask session."""
    return "session=%s; HttpOnly; Path=/" % secrets.token_hex(8)
