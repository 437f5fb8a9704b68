"""Models and credentials of the workspace, and the changes the API makes to them."""

from __future__ import annotations

from collections.abc import Callable

from .credential_forms import HIDDEN, PROVIDERS, DoubleBroken, Invalid, checked
from .json_object import JsonObject, State, new_id

Ask = Callable[[str, str, "dict[str, str]"], None]


class NotInitialized(Invalid):
    """A model that has no credential in use."""


class ProviderModels:
    """Models of the workspace, over `state["models"]`: key `provider|type|model` to credentials (newest first), the
    current one, flags.
    """

    def __init__(self, state: State, ask: Ask) -> None:
        self.state, self.ask = state, ask

    def entry(self, provider: str, model: str, model_type: str) -> JsonObject:
        key = "|".join((provider, model_type, model))
        fresh: State = {
            "provider": provider,
            "model": model,
            "type": model_type,
            "credentials": [],
            "current": None,
            "record": False,
            "enabled": True,
            "balanced": False,
            "configs": [],
            "added": 0,
        }
        entry: JsonObject = self.state["models"].setdefault(key, fresh)
        return entry

    def require_provider(self, provider: str) -> None:
        if provider not in self.installed():
            raise Invalid("Provider %s does not exist." % provider)

    def installed(self) -> list[str]:
        return [name for name, known in PROVIDERS.items() if known["plugin"] in self.state["plugins"]]

    def credential(self, entry: JsonObject, credential_id: str | None) -> JsonObject:
        if self.state.get("locked"):  # the private key of the workspace is gone: seen as 500 in the real one
            raise DoubleBroken("private key not found")
        credential: JsonObject
        for credential in entry["credentials"]:
            if credential["id"] == credential_id:
                return credential
        raise Invalid("Credential record not found.")

    def usable(self, provider: str, model: str, model_type: str) -> bool:
        """Tell whether apps and knowledge bases can use a model now."""
        entry = self.state["models"].get("|".join((provider, model_type, model)))
        return bool(entry and entry["current"] and entry["enabled"] and provider in self.installed())

    def credentials(self, provider: str, model: str, model_type: str) -> dict[str, str]:
        """Return the credentials with which a model is called. Raises Invalid in Dify's words where it cannot be."""
        self.require_provider(provider)
        entry = self.entry(provider, model, model_type)
        if entry["current"] is None:
            raise NotInitialized("Model %s credentials is not initialized." % model)
        if not entry["enabled"]:
            raise Invalid("Model %s is disabled." % model)
        values: dict[str, str] = self.credential(entry, entry["current"])["values"]
        return values

    def make_current(self, entry: JsonObject, credential_id: str) -> None:
        if entry["current"] is None:
            self.state["added"] += 1
            entry["added"] = self.state["added"]
        entry["current"], entry["record"] = credential_id, True

    # Changes

    def create(self, provider: str, body: JsonObject) -> None:
        self.require_provider(provider)
        entry = self.entry(provider, body["model"], body["model_type"])
        names = [credential["name"] for credential in entry["credentials"]]
        name = body.get("name")
        if name is not None and name in names:
            raise Invalid("Model credential with name '%s' already exists for %s." % (name, body["model"]))
        if name is None:
            number = 1
            while "API KEY %d" % number in names:
                number += 1
            name = "API KEY %d" % number
        stored = self.validated(provider, body, {})
        credential: State = {"id": new_id(), "name": name, "values": stored}
        entry["credentials"].insert(0, credential)
        if not entry.get("record", entry["current"] is not None):
            self.make_current(entry, credential["id"])

    def update(self, provider: str, body: JsonObject) -> None:
        self.require_provider(provider)
        entry = self.entry(provider, body["model"], body["model_type"])
        credential = self.credential(entry, body.get("credential_id"))
        others = [known["name"] for known in entry["credentials"] if known is not credential]
        if body.get("name") in others:
            raise Invalid("Model credential with name '%s' already exists for %s." % (body["name"], body["model"]))
        credential["values"] = self.validated(provider, body, credential["values"])
        credential["name"] = body.get("name") or credential["name"]

    def validated(self, provider: str, body: JsonObject, kept: dict[str, str]) -> dict[str, str]:
        """Credentials checked by the form and by asking the endpoint; hidden values keep what is stored."""
        given = {name: kept.get(name, "") if value == HIDDEN else value for name, value in body["credentials"].items()}
        stored = checked(provider, body["model_type"], given)
        self.ask(body["model"], body["model_type"], stored)
        return stored

    def validate(self, provider: str, body: JsonObject) -> JsonObject:
        try:
            self.validated(provider, body, {})
        except Invalid as refusal:
            return {"result": "error", "error": str(refusal)}
        except DoubleBroken:
            return {"result": "error", "error": "Internal Server Error"}
        return {"result": "success", "error": None}

    def delete_credential(self, provider: str, body: JsonObject) -> None:
        entry = self.entry(provider, body["model"], body["model_type"])
        credential = self.credential(entry, body["credential_id"])
        entry["credentials"].remove(credential)
        entry["configs"] = [config for config in entry["configs"] if config["credential_id"] != credential["id"]]
        if entry["current"] == credential["id"]:
            # with others left the model's row stays, and the next credential that is made is not taken into use
            entry["current"], entry["configs"], entry["record"] = None, [], bool(entry["credentials"])

    def switch(self, provider: str, body: JsonObject) -> None:
        entry = self.entry(provider, body["model"], body["model_type"])
        chosen = self.credential(entry, body["credential_id"])["id"]
        if chosen == entry["current"]:
            raise Invalid("Can't add same credential")
        self.make_current(entry, chosen)

    def save_model(self, provider: str, body: JsonObject) -> None:
        """Switch the credential in use, then save load balancing; a wrong config is refused after the switch.

        Without a config nothing is saved, neither on nor off: seen in the real one. What a refusal comes after stays.
        """
        entry = self.entry(provider, body["model"], body["model_type"])
        if body.get("config_from") == "custom-model" and not body.get("credential_id"):
            raise Invalid("credential_id is required when configuring a custom-model")
        if body.get("credential_id"):
            self.make_current(entry, self.credential(entry, body["credential_id"])["id"])
        balancing = body.get("load_balancing") or {}
        if balancing.get("configs"):
            self._save_configs(entry, balancing["configs"])
            if balancing.get("enabled") and len(entry["configs"]) < 2:
                raise Invalid("Model load balancing configuration must be more than 1.")
            entry["balanced"] = bool(balancing.get("enabled"))

    def _save_configs(self, entry: JsonObject, configs: list[JsonObject]) -> None:
        """Put these in the place of those that are there; one without an id is a new one, and is kept at once."""
        before, named_again = entry["configs"], {config.get("id") for config in configs}
        for config in configs:
            wanted = config.get("credential_id")
            if not wanted:
                raise Invalid("Invalid load balancing config name")
            credential = next((known for known in entry["credentials"] if known["id"] == wanted), None)
            if credential is None:
                raise Invalid("Provider credential with id %s not found" % wanted)
            known = next((known for known in before if known["id"] == config.get("id")), None)
            if known is not None:
                known["enabled"] = config.get("enabled", True)
                continue
            made = {
                "id": new_id(),
                "name": credential["name"],
                "credential_id": wanted,
                "enabled": config.get("enabled", True),
            }
            entry["configs"] = [*entry["configs"], made]
        gone = {config["id"] for config in before} - named_again
        entry["configs"] = [config for config in entry["configs"] if config["id"] not in gone]

    def delete_model(self, provider: str, body: JsonObject) -> None:
        """The model goes, its credentials stay behind: seen in the real one."""
        entry = self.entry(provider, body["model"], body["model_type"])
        entry["current"], entry["record"] = None, False

    def enable(self, provider: str, body: JsonObject) -> None:
        """Let the model be used again."""
        self.entry(provider, body["model"], body["model_type"])["enabled"] = True

    def disable(self, provider: str, body: JsonObject) -> None:
        """Keep the model from being used."""
        self.entry(provider, body["model"], body["model_type"])["enabled"] = False

    def set_default(self, settings: list[JsonObject]) -> None:
        for setting in settings:
            if not setting.get("provider"):
                continue
            provider, model, model_type = setting["provider"], setting.get("model") or "", setting["model_type"]
            if self.entry(provider, model, model_type)["current"] is None:
                raise Invalid("Model %s does not exist." % model)
            self.state["defaults"][model_type] = {"provider": provider, "model": model}

    def of_provider(self, provider: str) -> list[JsonObject]:
        """Models with a current credential, by the name of their type, then in the order they were added."""
        if provider not in self.installed():
            return []
        entries = [e for e in self.state["models"].values() if e["provider"] == provider and e["current"] is not None]
        return sorted(entries, key=lambda e: (e["type"], e["added"]))
