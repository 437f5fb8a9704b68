"""First-run setup: an administrator for a Dify that has none; the workspace's name, and who the login is in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from steelyard.errors import DifyRefused

from .client import DifyClient

OWNER = "owner"
NOT_TOLD = ("403", "404", "405")


@dataclass(frozen=True)
class Administrator:
    """The owner of a fresh Dify. `init_password` is INIT_PASSWORD of its environment."""

    email: str
    name: str
    password: str = field(repr=False)
    language: str = "en-US"
    init_password: str = field(default="", repr=False)


def is_set_up(client: DifyClient) -> bool:
    """True for a Dify that has an administrator."""
    return bool(client.open_get("/setup")["step"] == "finished")


def set_up(client: DifyClient, admin: Administrator) -> None:
    """Make the administrator. Raises DifyRefused and DifyUnreachable."""
    if client.open_get("/init")["status"] == "not_started":
        client.open_send("/init", {"password": admin.init_password})
    body = {"email": admin.email, "name": admin.name, "password": admin.password, "language": admin.language}
    client.open_send("/setup", body)
    client.forget_refusal()  # of another Dify, that was at this address before


def workspace_name(client: DifyClient) -> str:
    """The name of the workspace that the login leads to; the list is there in every release, and marks it."""
    workspaces = client.get("/workspaces")["workspaces"]
    current = [workspace for workspace in workspaces if workspace.get("current")] or workspaces
    return str(current[0]["name"]) if current else ""


def name_workspace(client: DifyClient, name: str) -> None:
    """Give the workspace this name."""
    client.send("POST", "/workspaces/info", {"name": name})


def workspaces(client: DifyClient) -> list[str]:
    """The names of the workspaces that the login leads to, sorted."""
    return sorted(str(workspace["name"]) for workspace in client.get("/workspaces")["workspaces"])


def role_of_login(client: DifyClient) -> str:
    """The login's role in the workspace, such as `owner` or `admin`; empty where Dify does not tell. An admin key acts
    as the owner.
    """
    if client.access.admin_key is not None:
        return OWNER
    try:
        own = client.get("/account/profile")["id"]
        members = client.get("/workspaces/current/members")["accounts"]
        return next((str(member["role"]) for member in members if member["id"] == own), "")
    except DifyRefused as refused:
        if refused.status not in NOT_TOLD:
            raise
    try:
        return str(client.look_up("/workspaces/current").get("role") or "")
    except DifyRefused as refused:
        if refused.status not in NOT_TOLD:
            raise
        return ""
