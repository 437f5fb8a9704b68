"""Models and credentials of the workspace: state, the changes the API makes to it, and the views it gives of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from .credential_forms import HIDDEN, PROVIDERS, DoubleBroken, Invalid, both, checked, form_json, shown
from .json_object import JsonObject

State = JsonObject  # all that the double keeps
Ask = Callable[[str, str, dict[str, str]], None]


def new_id() -> str:
    return str(uuid.uuid4())


class ProviderModels:
    """Models of the workspace, over `state["models"]`: key `provider|type|model` to credentials (newest first), the
    current one, flags.
    """

    def __init__(self, state: State, ask: Ask, balancing: bool = False) -> None:
        self.state, self.ask, self.balancing = state, ask, balancing

    def entry(self, provider: str, model: str, model_type: str) -> JsonObject:
        key = "|".join((provider, model_type, model))
        fresh: State = {
            "provider": provider,
            "model": model,
            "type": model_type,
            "credentials": [],
            "current": None,
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

    def make_current(self, entry: JsonObject, credential_id: str) -> None:
        if entry["current"] is None:
            self.state["added"] += 1
            entry["added"] = self.state["added"]
        entry["current"] = credential_id

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
        if entry["current"] is None:
            self.make_current(entry, credential["id"])

    def update(self, provider: str, body: JsonObject) -> None:
        self.require_provider(provider)
        entry = self.entry(provider, body["model"], body["model_type"])
        credential = self.credential(entry, body.get("credential_id"))
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
            entry["current"] = None
            entry["configs"] = []

    def switch(self, provider: str, body: JsonObject) -> None:
        entry = self.entry(provider, body["model"], body["model_type"])
        self.make_current(entry, self.credential(entry, body["credential_id"])["id"])

    def save_model(self, provider: str, body: JsonObject) -> None:
        """Switches the active credential, then saves load balancing; a wrong config is refused after the switch."""
        entry = self.entry(provider, body["model"], body["model_type"])
        if body.get("credential_id"):
            self.make_current(entry, self.credential(entry, body["credential_id"])["id"])
        balancing = body.get("load_balancing")
        if balancing is None:
            return
        configs = []
        for config in balancing["configs"]:
            if not config.get("credential_id"):
                raise Invalid("Invalid load balancing config name")
            named = self.credential(entry, config["credential_id"])["name"]
            configs.append(
                {"id": new_id(), "name": named, "credential_id": config["credential_id"], "enabled": config["enabled"]}
            )
        entry["balanced"], entry["configs"] = balancing["enabled"], configs

    def delete_model(self, provider: str, body: JsonObject) -> None:
        """The model goes, its credentials stay behind: seen in the real one."""
        self.entry(provider, body["model"], body["model_type"])["current"] = None

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
            entry = self.entry(setting["provider"], setting["model"], setting["model_type"])
            if entry["current"] is None:
                raise Invalid("Model %s does not exist." % setting["model"])
            self.state["defaults"][setting["model_type"]] = {"provider": setting["provider"], "model": setting["model"]}

    # Views

    def of_provider(self, provider: str) -> list[JsonObject]:
        """Models with a current credential, by type in the provider's order, then in the order they were added."""
        types = PROVIDERS[provider]["types"] if provider in PROVIDERS else []
        if provider not in self.installed():
            return []
        entries = [e for e in self.state["models"].values() if e["provider"] == provider and e["current"] is not None]
        return sorted(entries, key=lambda e: (types.index(e["type"]), e["added"]))

    def view(self, entry: JsonObject) -> JsonObject:
        values = self.credential(entry, entry["current"])["values"]
        return {
            "model": entry["model"],
            "label": both(values.get("display_name") or entry["model"]),
            "model_type": entry["type"],
            "features": features(values) if entry["type"] == "llm" else None,
            "fetch_from": "customizable-model",
            "model_properties": properties(entry["type"], values),
            "deprecated": False,
            "status": "active" if entry["enabled"] else "disabled",
            "load_balancing_enabled": entry["balanced"],
            # load balancing is saved and not used where the feature is off
            "has_invalid_load_balancing_configs": entry["balanced"] and not self.balancing,
        }

    def credentials_view(self, provider: str, model: str, model_type: str, credential_id: str | None) -> JsonObject:
        entry = self.entry(provider, model, model_type)
        chosen = credential_id or entry["current"]
        values: dict[str, str] = {}
        if chosen is not None:
            values = shown(provider, model_type, self.credential(entry, chosen)["values"])
        current = next((c["name"] for c in entry["credentials"] if c["id"] == entry["current"]), None)
        configs = [
            {
                "id": config["id"],
                "name": config["name"],
                "credentials": shown(provider, model_type, self.credential(entry, config["credential_id"])["values"]),
                "credential_id": config["credential_id"],
                "enabled": config["enabled"],
                "in_cooldown": False,
                "ttl": 0,
            }
            for config in entry["configs"]
        ]
        return {
            "credentials": values,
            "current_credential_id": entry["current"],
            "current_credential_name": current,
            "load_balancing": {"enabled": entry["balanced"], "configs": configs},
            "available_credentials": [named(c) for c in entry["credentials"]],
        }

    def custom_configuration(self, provider: str) -> JsonObject:
        entries = [e for e in self.state["models"].values() if e["provider"] == provider and e["credentials"]]
        added = sorted((e for e in entries if e["current"] is not None), key=lambda e: e["added"])
        orphans = [e for e in entries if e["current"] is None]
        custom = [
            {
                "model": e["model"],
                "model_type": e["type"],
                "credentials": None,
                "current_credential_id": e["current"],
                "current_credential_name": next((c["name"] for c in e["credentials"] if c["id"] == e["current"]), None),
                "available_model_credentials": [named(c) for c in e["credentials"]],
                "unadded_to_model_list": e in orphans,
            }
            for e in added + orphans
        ]
        return {
            "status": "active" if custom else "no-configure",
            "current_credential_id": None,
            "current_credential_name": None,
            "available_credentials": [],
            "custom_models": custom,
            "can_added_models": [{"model": e["model"], "model_type": e["type"]} for e in orphans],
        }

    def small_provider(self, provider: str) -> JsonObject:
        label = PROVIDERS[provider]["label"]
        return {
            "provider": provider,
            "provider_name": "",
            "label": both(label),
            "icon_small": both("simulated"),
            "icon_small_dark": None,
            "supported_model_types": PROVIDERS[provider]["types"],
            "tenant_id": self.state["tenant"],
            "models": [],
        }

    def provider_view(self, provider: str) -> JsonObject:
        known = PROVIDERS[provider]
        return {
            "tenant_id": self.state["tenant"],
            "provider": provider,
            "label": both(known["label"]),
            "description": both("Model providers compatible with OpenAI's API standard"),
            "icon_small": both("simulated"),
            "icon_small_dark": None,
            "background": None,
            "help": None,
            "supported_model_types": known["types"],
            "configurate_methods": ["customizable-model"],
            "provider_credential_schema": None,
            "model_credential_schema": {
                "model": {"label": both("Model Name"), "placeholder": both("Enter full model name")},
                "credential_form_schemas": [form_json(field) for field in known["fields"]],
            },
            "preferred_provider_type": "custom",
            "custom_configuration": self.custom_configuration(provider),
            "system_configuration": {"enabled": False, "current_quota_type": None, "quota_configurations": []},
        }

    def of_type(self, model_type: str) -> list[JsonObject]:
        """Usable models grouped by provider; disabled ones are absent."""
        groups = []
        for provider in self.installed():
            models = [self.view(e) for e in self.of_provider(provider) if e["type"] == model_type and e["enabled"]]
            if models:
                small = self.small_provider(provider)
                kept = {key: small[key] for key in ("tenant_id", "provider", "label", "icon_small", "icon_small_dark")}
                groups.append({**kept, "status": "active", "models": models})
        return groups


def named(credential: JsonObject) -> dict[str, str]:
    return {"credential_id": credential["id"], "credential_name": credential["name"]}


def features(values: dict[str, str]) -> list[str]:
    names = []
    if values.get("function_calling_type") in ("tool_call", "function_call"):
        names.append("multi-tool-call" if values["function_calling_type"] == "tool_call" else "tool-call")
    for name, wanted, feature in (
        ("stream_function_calling", "supported", "stream-tool-call"),
        ("vision_support", "support", "vision"),
        ("agent_thought_support", "supported", "agent-thought"),
        ("structured_output_support", "supported", "structured-output"),
    ):
        if values.get(name) == wanted:
            names.append(feature)
    return names


def properties(model_type: str, values: dict[str, str]) -> JsonObject:
    if model_type == "llm":
        return {"context_size": int(values["context_size"]), "mode": values["mode"]}
    if model_type == "text-embedding":
        return {"context_size": int(values["context_size"]), "max_chunks": 1}  # always 1 in the real one
    return {}
