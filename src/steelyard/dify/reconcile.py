"""Compares declared models with what Dify has, reads only. Credentials are found by their name, which is ours.

Every field of the form is compared, those that are not declared with their defaults: a human may have changed any. A
secret comes back masked (first six, stars, last two); the mask is compared, and the keyed hash of the one last set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from steelyard.errors import DifyLegacyTypes, DifyPluginMissing

from .client import DifyClient
from .console import ListedModel, Provider
from .desired_state import BASE, Credential, DesiredModel, DesiredState, mark_name, secret_mark
from .difference import Call, IdOf, ModelDifference, credentials_view
from .form import Form, form_of
from .removals import credentials_by_model, removals
from .uses import default_of

LEGACY = ("llm", "text-embedding", "rerank")  # types that had other names up to 1.13


def masked(secret: str) -> str:
    """The mask that Dify shows of a stored secret."""
    return secret[:6] + "*" * 12 + secret[-2:] if len(secret) > 8 else "*" * 20


def differing_fields(expected: dict[str, str], live: Mapping[str, object], secrets: frozenset[str]) -> list[str]:
    """Names of fields that Dify holds otherwise, sorted."""
    return sorted(
        name for name, value in expected.items() if live.get(name) != (masked(value) if name in secrets else value)
    )


def differences(client: DifyClient, desired: DesiredState) -> list[ModelDifference]:
    """Differences that must be mended, in order.

    A removal that must not be is the last, and says why (`blocked`). Raises DifyPluginMissing, DifyFieldWrong,
    DifyLegacyTypes and the client's errors.
    """
    provider = provider_entry(client, desired.provider)
    if provider is None:
        if not desired.models:
            return []
        raise DifyPluginMissing(where=client.where, provider=desired.provider)
    form = form_of(provider)
    for model in desired.models:
        for credential in model.credentials:
            form.check(model, credential.fields)
    listed = {(entry["model"], entry["model_type"]): entry for entry in client.models(desired.provider)}
    models = [_Model(client, desired, form, model, listed.get((model.model, model.type))) for model in desired.models]
    legacy = [f"{model.model.type} `{model.model.model}`" for model in models if model.has_legacy_type]
    if legacy:
        raise DifyLegacyTypes(where=client.where, models=", ".join(legacy))
    mending = [difference for model in models for difference in model.differences()]
    mending += _defaults(client, desired)
    return sorted(
        [*mending, *removals(client, desired, provider, listed)],
        key=lambda difference: difference.blocked is not None,  # a stable sort: the others keep their order
    )


def provider_entry(client: DifyClient, provider: str) -> Provider | None:
    """A provider as Dify lists it, with its form; None where its plugin is not installed."""
    for kind in ("", "?model_type=text-embedding"):  # without a type Dify lists providers of llms only
        for entry in client.get(BASE + kind)["data"]:
            if entry["provider"] == provider:
                listed: Provider = entry
                return listed
    return None


def models_by_hand(client: DifyClient, desired: DesiredState) -> list[str]:
    """Models of the provider that are in use and have no credential of ours."""
    declared = {(model.model, model.type) for model in desired.models}
    provider = provider_entry(client, desired.provider)
    held = credentials_by_model(provider or {})
    names = []
    for entry in client.models(desired.provider) if provider else ():
        key = (entry["model"], entry["model_type"])
        if key not in declared and desired.owner not in held.get(key, ()):
            names.append(f"{entry['model_type']} {entry['model']}")
    return sorted(names)


class _Model:
    """The differences of one declared model."""

    def __init__(
        self, client: DifyClient, desired: DesiredState, form: Form, model: DesiredModel, listed: ListedModel | None
    ) -> None:
        self.client, self.desired, self.form, self.model, self.listed = client, desired, form, model, listed
        self.view = credentials_view(client, desired.provider, model.model, model.type)
        self.ids = {entry["credential_name"]: entry["credential_id"] for entry in self.view["available_credentials"]}

    @property
    def has_legacy_type(self) -> bool:
        """Whether Dify lists the model as one with credentials and finds none: they are kept under the name that an
        older release gave to its type. A model that lost its credentials otherwise is not listed.
        """
        listed = self.listed is not None and self.listed.get("fetch_from") == "customizable-model"
        return listed and self.model.type in LEGACY and not self.ids

    def differences(self) -> list[ModelDifference]:
        model = self.model
        mending = [difference for credential in model.credentials for difference in self._credential(credential)]
        live = self.view["current_credential_name"]
        made_first = live is None and not self.ids and bool(mending)  # Dify takes a model's first credential into use
        if live != model.credential and not made_first:
            body = {**model.named, "credential_id": IdOf(model.credential)}
            calls = (Call("POST", f"{self.desired.path}/credentials/switch", body),)
            mending.append(
                self._difference("switch", f"uses {model.credential}", f"uses {live or 'no credential'}", calls)
            )
        enabled = self.listed is None or self.listed["status"] != "disabled"
        if enabled != model.enabled:
            word, before = ("enable", "disabled") if model.enabled else ("disable", "enabled")
            calls = (Call("PATCH", f"{self.desired.path}/{word}", dict(model.named)),)
            mending.append(self._difference(word, f"{word}d", before, calls))
        return mending + self._balancing()

    def _credential(self, credential: Credential) -> list[ModelDifference]:
        model, asked = self.model, replace(self.model, fields=credential.fields, further=())
        body = {**model.named, "name": credential.name, "credentials": credential.fields}
        path = f"{self.desired.path}/credentials"
        held = self.ids.get(credential.name)
        if held is None:
            what = "registered" if credential.name == model.credential else f"credential {credential.name}"
            before = "not registered" if not self.ids else f"no credential {credential.name}"
            return [self._difference("create", what, before, (Call("POST", path, body),), asked)]
        live = self._values(held)
        secrets = self.form.secrets(model.type, credential.fields)
        expected = self.form.stored(model.type, credential.fields)
        # a default that an older release or plugin did not store is no difference; a declared field that is gone is one
        known = {name: live.get(name, None if name in credential.fields else expected[name]) for name in expected}
        changed = differing_fields(expected, known, secrets)
        changed += [name for name in live if name not in expected and live[name] and self._counts(name, live)]
        if not changed and not self._mark_fits(credential):
            changed = sorted(secrets)
        if not changed:
            return []
        declared = ", ".join(f"{name}={'set' if name in secrets else repr(expected.get(name, ''))}" for name in changed)
        shown = ", ".join(f"{name}={live.get(name)!r}" for name in changed)
        call = Call("PUT", path, {**body, "credential_id": held})
        return [self._difference("update", declared, shown, (call,), asked)]

    def _values(self, credential_id: str) -> dict[str, Any]:
        if self.view["current_credential_id"] == credential_id:
            return self.view["credentials"]
        view = credentials_view(self.client, self.desired.provider, self.model.model, self.model.type, credential_id)
        return dict(view["credentials"])

    def _counts(self, name: str, live: dict[str, Any]) -> bool:
        """True for a value that we did not set and that is one of the form's: other keys are Dify's own."""
        return any(field.name == name for field in self.form.shown(self.model.type, live))

    def _mark_fits(self, credential: Credential) -> bool:
        if self.desired.known_marks is None:
            return True
        kept = self.desired.known_marks.get(mark_name(self.model, credential))
        keys = [key for key in (self.desired.mark_key, self.desired.older_mark_key) if key is not None]
        return kept in [secret_mark(key, credential.fields) for key in keys]

    def _balancing(self) -> list[ModelDifference]:
        names = [credential.name for credential in self.model.credentials] if self.model.further else []
        balancing = self.view["load_balancing"]
        live = (
            sorted(entry["name"] for entry in balancing["configs"] if entry["enabled"]) if balancing["enabled"] else []
        )
        if sorted(names) == live:
            return []
        configs = self._configs(names)
        body = {
            **self.model.named,
            "config_from": "custom-model",
            "credential_id": IdOf(self.model.credential),
            "load_balancing": {"enabled": bool(names), "configs": configs},
        }
        declared = f"requests shared by {', '.join(names)}" if names else "no load balancing"
        shown = f"requests shared by {', '.join(live)}" if live else "no load balancing"
        return [self._difference("balance", declared, shown, (Call("POST", self.desired.path, body),))]

    def _configs(self, names: list[str]) -> list[dict[str, Any]]:
        """What Dify balances over: ours, and what a human added beside them, which stays and is switched off.

        Dify deletes each that is not sent, ignores a request that sends none, and keeps one that is sent with its id.
        """
        configs = []
        for entry in self.view["load_balancing"]["configs"]:
            kept = {name: value for name, value in entry.items() if name in ("id", "name", "credential_id") and value}
            if "id" not in kept:
                continue
            enabled = entry["name"] in names if names else bool(entry["enabled"])
            configs.append({**kept, "enabled": enabled})
        there = {entry["name"] for entry in configs}
        wanted = names or ([] if configs else [self.model.credential])
        return configs + [{"credential_id": IdOf(name), "enabled": True} for name in wanted if name not in there]

    def _difference(
        self, action: str, declared: str, live: str, calls: tuple[Call, ...], *asks: DesiredModel
    ) -> ModelDifference:
        key = (self.model.model, self.model.type)
        return ModelDifference(
            action, f"model {self.model.model}", declared, live, calls, self.desired.provider, key, asks
        )


def _defaults(client: DifyClient, desired: DesiredState) -> list[ModelDifference]:
    mending = []
    for model in desired.models:
        if not model.default:
            continue
        live = default_of(client, model.type)
        if live != (desired.provider, model.model):
            setting = {"model_type": model.type, "provider": desired.provider, "model": model.model}
            call = Call("POST", "/workspaces/current/default-model", {"model_settings": [setting]})
            shown = f"{live[1]} of {live[0]}" if live else "none"
            key = (model.model, model.type)
            subject = f"default {model.type}"
            mending.append(ModelDifference("default", subject, model.model, shown, (call,), desired.provider, key))
    return mending
