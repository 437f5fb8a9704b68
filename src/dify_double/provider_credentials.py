"""Credentials of a whole provider, for those with a form of their own; they go when the provider's plugin goes."""

from __future__ import annotations

from collections.abc import Callable

from .credential_forms import PROVIDERS, DoubleBroken, Invalid, masked, stored_by
from .json_object import JsonObject, State, new_id
from .routes import Answer, Request, Route, ok
from .validation import Complaints

CREDENTIALS = "/workspaces/current/model-providers/{provider:any}/credentials"
Ask = Callable[["dict[str, str]"], None]


class ProviderCredentials:
    """Credentials by provider, over `state["provider_credentials"]`: the list, the one in use, and what Dify's cache
    still shows of those that are gone.
    """

    def __init__(self, state: State, ask: Ask) -> None:
        self.state, self.ask = state, ask

    def routes(self) -> list[Route]:
        """Return the routes of a provider's credentials; those of its models have to come before."""
        return [Route("POST", CREDENTIALS, self._create), Route("GET", CREDENTIALS, self._get)]

    def _entry(self, provider: str) -> JsonObject:
        """Return what is held of an installed provider. Raises Invalid."""
        known = PROVIDERS.get(provider)
        if known is None or known["plugin"] not in self.state["plugins"]:
            raise Invalid("Provider %s does not exist." % provider)
        fresh: JsonObject = {"credentials": [], "current": None, "cached": []}
        entry: JsonObject = self.state["provider_credentials"].setdefault(provider, fresh)
        return entry

    def _create(self, request: Request) -> Answer:
        provider = request.names["provider"]
        entry = self._entry(provider)
        Complaints("ParserCredentialCreate", request.body).required("credentials").mapping("credentials").refuse()
        names = [credential["name"] for credential in entry["credentials"]]
        name = request.body.get("name") or "API KEY %d" % (len(names) + 1)
        if name in names:
            raise Invalid("Credential with name '%s' already exists." % name)
        values = stored_by(PROVIDERS[provider]["provider_fields"] or [], request.body["credentials"])
        self.ask(values)
        credential = {"id": new_id(), "name": name, "values": values}
        entry["credentials"].insert(0, credential)
        entry["current"] = entry["current"] or credential["id"]
        entry["cached"] = []
        return 201, [], {"result": "success"}

    def _get(self, request: Request) -> Answer:
        provider = request.names["provider"]
        entry = self._entry(provider)
        chosen = request.query.get("credential_id") or entry["current"]
        values = next((held["values"] for held in entry["credentials"] if held["id"] == chosen), None)
        if values is None:
            return ok({"credentials": {}})
        if self.state.get("locked"):  # the private key of the workspace is gone
            raise DoubleBroken("private key not found")
        return ok({"credentials": masked(PROVIDERS[provider]["provider_fields"], values)})

    def remove(self, provider: str) -> None:
        """Delete a provider's credentials; the row of the provider stays, and the cache names them on."""
        entry = self.state["provider_credentials"].get(provider)
        if entry is not None:
            entry["cached"] = [shown(credential) for credential in entry["credentials"]]
            entry["credentials"], entry["current"] = [], None

    def view(self, provider: str) -> JsonObject | None:
        """Return what the list of providers says of them; None where nobody ever set one."""
        entry = self.state["provider_credentials"].get(provider)
        if entry is None or not (entry["credentials"] or entry["cached"]):
            return None
        current = next((held["name"] for held in entry["credentials"] if held["id"] == entry["current"]), None)
        return {
            "current_credential_id": entry["current"],
            "current_credential_name": current,
            "available_credentials": [shown(held) for held in entry["credentials"]] or entry["cached"],
        }


def shown(credential: JsonObject) -> dict[str, str]:
    """Return id and name of a credential, as lists name it."""
    return {"credential_id": credential["id"], "credential_name": credential["name"]}
