"""Keys of the service API: each of one app, or of the workspace's knowledge bases."""

from __future__ import annotations

import secrets
import string

from .clock import Clock
from .json_object import JsonObject, State, new_id
from .routes import Answer, gone, ok

MOST = 10  # of one app, or of the workspace's knowledge bases
DATASETS = "datasets"  # what a key of knowledge bases is of
LETTERS = string.ascii_letters + string.digits


class ApiKeys:
    """Keys over `state["keys"]`: token to id, and the app's id or `datasets`."""

    def __init__(self, state: State, clock: Clock) -> None:
        self.state, self.clock = state, clock

    def create(self, of: str, status: int) -> Answer:
        """Make a key, up to ten."""
        if len(self._of(of)) >= MOST:
            refusal = "Cannot create more than %d API keys for this resource type." % MOST
            return 400, [], {"custom": "max_keys_exceeded", "message": refusal}
        token = ("dataset-" if of == DATASETS else "app-") + "".join(secrets.choice(LETTERS) for _ in range(24))
        self.state["keys"][token] = {"id": new_id(), "of": of, "at": self.clock.unix()}
        return status, [], shown(token, self.state["keys"][token])

    def listed(self, of: str) -> Answer:
        """List keys with their tokens, the newest first."""
        return ok({"data": [shown(token, key) for token, key in reversed(self._of(of).items())]})

    def delete(self, of: str, key_id: str) -> Answer:
        """Remove a key."""
        named = [token for token, key in self._of(of).items() if key["id"] == key_id]
        if not named:
            return 404, [], {"message": "API key not found"}
        del self.state["keys"][named[0]]
        return gone()

    def delete_all(self, of: str) -> None:
        """Remove the keys of an app that goes."""
        self.state["keys"] = {token: key for token, key in self.state["keys"].items() if key["of"] != of}

    def owner_of(self, token: str) -> str | None:
        """Return what a token is of; None where there is no such token."""
        key = self.state["keys"].get(token)
        return None if key is None else str(key["of"])

    def _of(self, of: str) -> JsonObject:
        return {token: key for token, key in self.state["keys"].items() if key["of"] == of}


def shown(token: str, key: JsonObject) -> JsonObject:
    """Return a key as the API shows it."""
    kind = "dataset" if key["of"] == DATASETS else "app"
    return {"id": key["id"], "type": kind, "token": token, "last_used_at": None, "created_at": key.get("at", 0)}
