"""The one workspace: its name, its members, and how another one is invited."""

from __future__ import annotations

import urllib.parse

from .account import ConsoleAccount, new_account
from .json_object import JsonObject, new_id
from .routes import NOT_FOUND_WORDS, Answer, Request, Route, flat, ok
from .validation import Complaints

EMPTY = (
    "in_trial",
    "trial_end_reason",
    "custom_config",
    "trial_credits",
    "trial_credits_used",
    "trial_credits_exhausted_at",
    "next_credit_reset_date",
)
ROLES = ("admin", "editor", "normal", "dataset_operator")  # that somebody may be invited as


class Workspaces:
    """The workspace and its members, over `state["tenant"]`, `state["workspace"]` (its name once it was given one),
    `state["members"]` and `state["invitations"]` (token to account).
    """

    def __init__(self, accounts: ConsoleAccount, release: tuple[int, ...], url: str) -> None:
        self.accounts, self.release, self.url = accounts, release, url
        self.state = accounts.state

    def routes(self) -> list[Route]:
        """Return the routes of the workspace. The current one is asked by GET up to 1.10.0, by POST up to 1.16, and by
        another path after that.
        """
        current = ("GET", "") if self.release < (1, 10, 1) else ("POST", "")
        if self.release >= (1, 17):
            current = ("GET", "/summary")
        return [
            Route(current[0], "/workspaces/current" + current[1], lambda request: ok(self.current(request.account))),
            Route("GET", "/workspaces", self._all),
            Route("POST", "/workspaces/info", self._name),
            Route("GET", "/workspaces/current/permission", lambda _: flat(404, "not_found", NOT_FOUND_WORDS)),
            Route("GET", "/workspaces/current/members", self._members),
            Route("POST", "/workspaces/current/members/invite-email", self._invite),
            Route("GET", "/activate/check", self._check, open=True),
            Route("POST", "/activate", self._activate, open=True),
        ]

    @property
    def name(self) -> str:
        """The workspace's name; until somebody gives it one, it is the owner's."""
        return str(self.state.get("workspace") or "%s's Workspace" % self.state["admin"]["name"])

    def current(self, account: JsonObject) -> JsonObject:
        """Return the workspace as the API shows it to one member."""
        return {
            "id": self.state["tenant"],
            "name": self.name,
            "plan": None,
            "status": "normal",
            "created_at": self.state["admin"]["at"],
            "role": account["role"],
            **dict.fromkeys(EMPTY),
        }

    def _all(self, request: Request) -> Answer:
        shown = self.current(request.account)
        kept = {key: shown[key] for key in ("id", "name", "status", "created_at")}
        at = request.account.get("login_at") or request.account["at"]
        return ok({"workspaces": [{**kept, "plan": "sandbox", "last_opened_at": at, "current": True}]})

    def _name(self, request: Request) -> Answer:
        Complaints("WorkspaceInfoPayload", request.body).required("name").text("name").refuse()
        self.state["workspace"] = request.body["name"]
        return ok({"result": "success", "tenant": self.current(request.account)})

    def _members(self, _: Request) -> Answer:
        return ok({"accounts": [member(account) for account in self.accounts.accounts()]})

    def _invite(self, request: Request) -> Answer:
        """Invite by e-mail, which nobody sends: the answer itself has the address to open."""
        body, results = request.body, []
        Complaints("MemberInvitePayload", body).required("emails", "role").listing("emails").refuse()
        if body.get("role") not in ROLES:
            return flat(400, "invalid_role", "Invalid role.")
        for email in body["emails"]:
            account = new_account(email, email.split("@")[0], None, body["role"], self.accounts.clock.unix())
            account |= {"status": "pending", "language": body.get("language", "en-US")}
            self.state["members"].append(account)
            token = new_id()
            self.state["invitations"][token] = account["id"]
            url = "%s/activate?%s" % (self.url, urllib.parse.urlencode({"email": email, "token": token}))
            results.append({"status": "success", "email": email, "url": url})
        return 201, [], {"result": "success", "invitation_results": results, "tenant_id": self.state["tenant"]}

    def _invited(self, token: str | None) -> JsonObject | None:
        account = self.state["invitations"].get(token)
        return next((one for one in self.state["members"] if one["id"] == account), None)

    def _check(self, request: Request) -> Answer:
        account = self._invited(request.query.get("token"))
        if account is None:
            return ok({"is_valid": False})
        pending = account["status"] == "pending"
        invited = {"email": account["email"], "account_status": account["status"], "requires_setup": pending}
        data = {"workspace_name": self.name, "workspace_id": self.state["tenant"], **invited}
        return ok({"is_valid": True, "data": data})

    def _activate(self, request: Request) -> Answer:
        """Take the invitation: the account is active, has no password and is not logged in."""
        Complaints("ActivatePayload", request.body).required("token", "name").text("token", "name").refuse()
        account = self._invited(request.body["token"])
        if account is None:
            return flat(401, "unauthorized", "Auth Token is invalid or account already activated, please check again.")
        del self.state["invitations"][request.body["token"]]
        body = request.body
        account |= {"name": body["name"], "status": "active", "timezone": body.get("timezone")}
        account["language"] = body.get("interface_language", account["language"])
        return ok({"result": "success"})


def member(account: JsonObject) -> JsonObject:
    """Return an account as the list of members shows it."""
    role = account["role"]
    return {
        "avatar": None,
        "id": account["id"],
        "name": account["name"],
        "email": account["email"],
        "last_login_at": account.get("login_at"),
        "last_active_at": account["at"],
        "created_at": account["at"],
        "role": role,
        "roles": [{"id": role, "name": role}],
        "status": account.get("status", "active"),
        "avatar_url": None,
    }
