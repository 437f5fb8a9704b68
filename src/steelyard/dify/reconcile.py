"""Compares declared models with what Dify has, reads only. Credentials are found by their name, which is ours.

Every field of the form is compared, those that are not declared with their defaults: a human may have changed any. A
secret comes back masked (first six, stars, last two); the mask is compared, and the keyed hash of the one last set.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from steelyard.errors import DifyModelUsed, DifyPluginMissing

from .client import DifyClient
from .difference import Call, Difference, IdOf, credentials_view
from .form import Form, form_of
from .uses import Uses, default_of, read_uses
from .wanted import BASE, Credential, Wanted, WantedModel, mark_name, secret_mark


def masked(secret: str) -> str:
    """As Dify shows a stored secret."""
    return secret[:6] + "*" * 12 + secret[-2:] if len(secret) > 8 else "*" * 20


def differing_fields(wanted: dict[str, str], live: dict[str, Any], secrets: frozenset[str]) -> list[str]:
    """Names of fields that Dify holds otherwise, sorted."""
    return sorted(name for name, value in wanted.items() if live.get(name) != (masked(value) if name in secrets else value))


def differences(client: DifyClient, wanted: Wanted) -> list[Difference]:
    """What must be mended, in order. Raises DifyPluginMissing, DifyFieldWrong, DifyModelUsed and the client's errors."""
    provider = provider_entry(client, wanted.provider)
    if provider is None:
        if not wanted.models:
            return []
        raise DifyPluginMissing(where=client.where, provider=wanted.provider)
    form = form_of(provider)
    for model in wanted.models:
        for credential in model.credentials:
            form.check(model, credential.fields)
    listed = {(entry["model"], entry["model_type"]): entry for entry in client.models(wanted.provider)}
    found: list[Difference] = []
    for model in wanted.models:
        found += _Model(client, wanted, form, model, listed.get((model.model, model.type))).differences()
    found += _defaults(client, wanted)
    return found + _removals(client, wanted, provider, listed)


def provider_entry(client: DifyClient, provider: str) -> dict[str, Any] | None:
    """A provider as Dify lists it, with its form; None where its plugin is not installed."""
    for kind in ("", "?model_type=text-embedding"):  # without a type Dify lists providers of llms only
        for entry in client.get(BASE + kind)["data"]:
            if entry["provider"] == provider:
                found: dict[str, Any] = entry
                return found
    return None


def models_by_hand(client: DifyClient, wanted: Wanted) -> list[str]:
    """Models of the provider that are in use and have no credential of ours."""
    declared = {(model.model, model.type) for model in wanted.models}
    provider = provider_entry(client, wanted.provider)
    held = _credentials_by_model(provider or {})
    names = []
    for entry in client.models(wanted.provider) if provider else ():
        key = (entry["model"], entry["model_type"])
        if key not in declared and wanted.owner not in held.get(key, ()):
            names.append(f"{entry['model_type']} {entry['model']}")
    return sorted(names)


class _Model:
    """What differs for one declared model."""

    def __init__(
        self, client: DifyClient, wanted: Wanted, form: Form, model: WantedModel, listed: dict[str, Any] | None
    ) -> None:
        self.client, self.wanted, self.form, self.model, self.listed = client, wanted, form, model, listed
        self.view = credentials_view(client, wanted.provider, model.model, model.type)
        self.ids = {each["credential_name"]: each["credential_id"] for each in self.view["available_credentials"]}

    def differences(self) -> list[Difference]:
        model = self.model
        found = [difference for credential in model.credentials for difference in self._credential(credential)]
        live = self.view["current_credential_name"]
        made_first = live is None and not self.ids and bool(found)  # Dify takes a model's first credential into use
        if live != model.credential and not made_first:
            body = {**model.named, "credential_id": IdOf(model.credential)}
            calls = (Call("POST", f"{self.wanted.path}/credentials/switch", body),)
            found.append(self._difference("switch", f"uses {model.credential}", f"uses {live or 'no credential'}", calls))
        enabled = self.listed is None or self.listed["status"] != "disabled"
        if enabled != model.enabled:
            word, before = ("enable", "disabled") if model.enabled else ("disable", "enabled")
            calls = (Call("PATCH", f"{self.wanted.path}/{word}", dict(model.named)),)
            found.append(self._difference(word, f"{word}d", before, calls))
        return found + self._balancing()

    def _credential(self, credential: Credential) -> list[Difference]:
        model, asked = self.model, replace(self.model, fields=credential.fields, further=())
        body = {**model.named, "name": credential.name, "credentials": credential.fields}
        path = f"{self.wanted.path}/credentials"
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
            found: dict[str, Any] = self.view["credentials"]
            return found
        view = credentials_view(self.client, self.wanted.provider, self.model.model, self.model.type, credential_id)
        return dict(view["credentials"])

    def _counts(self, name: str, live: dict[str, Any]) -> bool:
        """Whether a value that we did not set is one of the form's: other keys are Dify's own."""
        return any(each.name == name for each in self.form.shown(self.model.type, live))

    def _mark_fits(self, credential: Credential) -> bool:
        if self.wanted.kept is None:
            return True
        mark = secret_mark(self.wanted.mark_key, credential.fields)
        return self.wanted.kept.get(mark_name(self.model, credential)) == mark

    def _balancing(self) -> list[Difference]:
        names = [each.name for each in self.model.credentials] if self.model.further else []
        balancing = self.view["load_balancing"]
        live = sorted(each["name"] for each in balancing["configs"] if each["enabled"]) if balancing["enabled"] else []
        if sorted(names) == live:
            return []
        configs = [{"credential_id": IdOf(name), "enabled": True} for name in names]
        body = {
            **self.model.named,
            "config_from": "custom-model",
            "credential_id": IdOf(self.model.credential),
            "load_balancing": {"enabled": bool(names), "configs": configs},
        }
        declared = f"requests shared by {', '.join(names)}" if names else "no load balancing"
        shown = f"requests shared by {', '.join(live)}" if live else "no load balancing"
        return [self._difference("balance", declared, shown, (Call("POST", self.wanted.path, body),))]

    def _difference(
        self, action: str, declared: str, live: str, calls: tuple[Call, ...], *asks: WantedModel
    ) -> Difference:  # fmt: skip
        key = (self.model.model, self.model.type)
        return Difference(action, f"model {self.model.model}", declared, live, calls, self.wanted.provider, key, asks)


def _defaults(client: DifyClient, wanted: Wanted) -> list[Difference]:
    found = []
    for model in wanted.models:
        if not model.default:
            continue
        live = default_of(client, model.type)
        if live != (wanted.provider, model.model):
            setting = {"model_type": model.type, "provider": wanted.provider, "model": model.model}
            call = Call("POST", "/workspaces/current/default-model", {"model_settings": [setting]})
            shown = f"{live[1]} of {live[0]}" if live else "none"
            key = (model.model, model.type)
            subject = f"default {model.type}"
            found.append(Difference("default", subject, model.model, shown, (call,), wanted.provider, key))
    return found


def _credentials_by_model(provider: dict[str, Any]) -> dict[tuple[str, str], dict[str, str]]:
    """(model, type) to its credentials, name to id; models without one in use too."""
    custom = (provider.get("custom_configuration") or {}).get("custom_models") or []
    return {
        (entry["model"], entry["model_type"]): {
            each["credential_name"]: each["credential_id"] for each in entry.get("available_model_credentials") or ()
        }
        for entry in custom
    }


def _removals(
    client: DifyClient, wanted: Wanted, provider: dict[str, Any], listed: dict[tuple[str, str], dict[str, Any]]
) -> list[Difference]:
    """Ours that are not declared any more; with `prune`, everybody's. Raises DifyModelUsed."""
    declared = {(model.model, model.type): {each.name for each in model.credentials} for model in wanted.models}
    held = _credentials_by_model(provider)
    uses: Uses | None = None
    found = []
    for key in sorted(held.keys() | listed.keys()):
        names = held.get(key, {})
        kept = declared.get(key)
        if kept is not None:
            going = [name for name in names if _is_ours(name, wanted.owner) and name not in kept]
        else:
            going = list(names) if wanted.prune else [name for name in names if _is_ours(name, wanted.owner)]
        if not going:
            continue
        staying = [name for name in names if name not in going]
        if kept is None and not staying and key in listed and not wanted.remove_used:
            uses = uses or read_uses(client)
            given = {f"default {model.type}" for model in wanted.models if model.default}  # they go to another in this run
            users = [user for user in uses.of(wanted.provider, *key) if user not in given]
            if users:
                raise DifyModelUsed(where=client.where, model=key[0], users=", ".join(users))
        found.append(_removal(wanted, key, names, going, staying, in_use=key in listed))
    return found


def _is_ours(name: str, owner: str) -> bool:
    """Further credentials are named `OWNER-NAME`."""
    return name == owner or name.startswith(f"{owner}-")


def _removal(
    wanted: Wanted, key: tuple[str, str], ids: dict[str, str], going: list[str], staying: list[str], in_use: bool
) -> Difference:
    named = {"model": key[0], "model_type": key[1]}
    calls: list[Call] = []
    if staying and in_use:  # the one in use must not go first: the model would be left without any
        keeper = wanted.owner if wanted.owner in staying else staying[0]
        calls.append(Call("POST", f"{wanted.path}/credentials/switch", {**named, "credential_id": ids[keeper]}))
    calls += [Call("DELETE", f"{wanted.path}/credentials", {**named, "credential_id": ids[name]}) for name in going]
    ours = all(_is_ours(name, wanted.owner) for name in going)
    declared = "not declared" if not staying else f"without {', '.join(going)}"
    live = f"registered with {', '.join(sorted(ids))}"
    action = "remove" if ours else "prune"
    return Difference(action, f"model {key[0]}", declared, live, tuple(calls), wanted.provider, key)
