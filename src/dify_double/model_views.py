"""The views that the API gives of providers, of their models and of credentials."""

from __future__ import annotations

from .credential_forms import PROVIDERS, Field, Invalid, both, form_json, shown
from .json_object import JsonObject
from .model_providers import ProviderModels
from .provider_credentials import ProviderCredentials
from .provider_credentials import shown as named


class ModelViews:
    """Views of one workspace's models. `balancing`: load balancing is not only saved but used; `url` is where the
    console is asked for pictures.
    """

    def __init__(self, models: ProviderModels, of_providers: ProviderCredentials, balancing: bool, url: str) -> None:
        self.models, self.of_providers, self.balancing, self.url = models, of_providers, balancing, url

    def view(self, entry: JsonObject) -> JsonObject:
        values = self.models.credential(entry, entry["current"])["values"]
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
        entry = self.models.entry(provider, model, model_type)
        chosen = credential_id or entry["current"]
        values: dict[str, str] = {}
        if chosen is not None:
            if all(credential["id"] != chosen for credential in entry["credentials"]):
                raise Invalid("Credential with id %s not found." % chosen)
            values = shown(provider, model_type, self._values(entry, chosen))
        current = next((c["name"] for c in entry["credentials"] if c["id"] == chosen), None)
        configs = [
            {
                "id": config["id"],
                "name": config["name"],
                "credentials": shown(provider, model_type, self._values(entry, config["credential_id"])),
                "credential_id": config["credential_id"],
                "enabled": config["enabled"],
                "in_cooldown": False,
                "ttl": 0,
            }
            for config in entry["configs"]
        ]
        return {
            "credentials": values,
            "current_credential_id": chosen,
            "current_credential_name": current,
            "load_balancing": {"enabled": entry["balanced"], "configs": configs},
            "available_credentials": [named(c) for c in entry["credentials"]],
        }

    def _values(self, entry: JsonObject, credential_id: str) -> dict[str, str]:
        """Return the stored values of one of a model's credentials."""
        values: dict[str, str] = self.models.credential(entry, credential_id)["values"]
        return values

    def custom_configuration(self, provider: str) -> JsonObject:
        entries = [e for e in self.models.state["models"].values() if e["provider"] == provider and e["credentials"]]
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
        of_provider = self.of_providers.view(provider)
        none: JsonObject = {"current_credential_id": None, "current_credential_name": None, "available_credentials": []}
        return {
            "status": "active" if custom or of_provider is not None else "no-configure",
            **(none if of_provider is None else of_provider),
            "custom_models": custom,
            "can_added_models": [{"model": e["model"], "model_type": e["type"]} for e in orphans],
        }

    def small_provider(self, provider: str) -> JsonObject:
        label = PROVIDERS[provider]["label"]
        return {
            "provider": provider,
            "provider_name": "",
            "label": both(label),
            "icon_small": self._icon(provider),
            "icon_small_dark": None,
            "supported_model_types": PROVIDERS[provider]["types"],
            "tenant_id": self.models.state["tenant"],
            "models": [],
        }

    def provider_view(self, provider: str) -> JsonObject:
        known = PROVIDERS[provider]
        return {
            "tenant_id": self.models.state["tenant"],
            "provider": provider,
            "label": both(known["label"]),
            "description": both(known["description"]),
            "icon_small": self._icon(provider),
            "icon_small_dark": None,
            "background": known["background"],
            "help": None,
            "supported_model_types": known["types"],
            "configurate_methods": known["configured"],
            "provider_credential_schema": form(known["provider_fields"]),
            "model_credential_schema": {
                "model": {"label": both("Model Name"), "placeholder": both("Enter full model name")},
                **(form(known["fields"]) or {}),
            },
            "preferred_provider_type": "custom",
            "custom_configuration": self.custom_configuration(provider),
            "system_configuration": {"enabled": False, "current_quota_type": None, "quota_configurations": []},
        }

    def _icon(self, provider: str) -> dict[str, str]:
        """Return addresses of a picture that the double does not serve."""
        path = "/console/api/workspaces/%s/model-providers/%s/icon_small/" % (self.models.state["tenant"], provider)
        return {language: self.url + path + language for language in ("zh_Hans", "en_US")}

    def of_type(self, model_type: str) -> list[JsonObject]:
        """Usable models grouped by provider; disabled ones are absent."""
        groups = []
        for provider in self.models.installed():
            listed = self.models.of_provider(provider)
            models = [self.view(e) for e in listed if e["type"] == model_type and e["enabled"]]
            if models:
                small = self.small_provider(provider)
                kept = {key: small[key] for key in ("tenant_id", "provider", "label", "icon_small", "icon_small_dark")}
                groups.append({**kept, "status": "active", "models": models})
        return groups


def form(fields: list[Field] | None) -> JsonObject | None:
    """Return the schema of a form; None where there is none."""
    return None if fields is None else {"credential_form_schemas": [form_json(field) for field in fields]}


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
    if model_type == "tts":
        voices = [name.strip() for name in values.get("voices", "alloy").split(",")]
        spoken = [{"name": name, "mode": name, "language": "en-US"} for name in voices]
        return {"audio_type": "mp3", "word_limit": 4096, "default_voice": voices[0], "voices": spoken}
    return {}
