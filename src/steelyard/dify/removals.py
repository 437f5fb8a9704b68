"""Removals of models and credentials: what each sends, and why one is not made: somebody uses the model, or may."""

from __future__ import annotations

from steelyard.errors import DifyModelUsed, DifyUsersUnseen, SteelyardError

from .account import OWNER
from .client import DifyClient
from .console import ListedModel, Provider
from .desired_state import DesiredState
from .difference import Call, ModelDifference, credentials_view
from .uses import Uses, default_of, read_uses

Key = tuple[str, str]  # (model, type)
SHOWN = 12  # users of a model that are named; the rest are counted
OF_KNOWLEDGE = ("text-embedding", "rerank")
DEFAULT = "/workspaces/current/default-model"


def credentials_by_model(provider: Provider) -> dict[Key, dict[str, str]]:
    """(model, type) to its credentials, name to id; models without one in use too."""
    custom = (provider.get("custom_configuration") or {}).get("custom_models") or []
    return {
        (entry["model"], entry["model_type"]): {
            held["credential_name"]: held["credential_id"] for held in entry.get("available_model_credentials") or ()
        }
        for entry in custom
    }


def removals(
    client: DifyClient, desired: DesiredState, provider: Provider, listed: dict[Key, ListedModel]
) -> list[ModelDifference]:
    """Return the removals of ours that are not declared any more; with `prune`, of everybody's. One that must not be is
    among them, and says why (`blocked`).
    """
    return _Removals(client, desired, provider, listed).all()


class _Removals:
    """The removals of one look; the users are read once, and only where a model would be gone."""

    def __init__(
        self, client: DifyClient, desired: DesiredState, provider: Provider, listed: dict[Key, ListedModel]
    ) -> None:
        self.client, self.desired, self.listed = client, desired, listed
        self.held = credentials_by_model(provider)
        self.declared = {
            (model.model, model.type): {credential.name for credential in model.credentials} for model in desired.models
        }
        self.given = {model.type for model in desired.models if model.default}  # default types set in this run anyway
        self._uses: Uses | None = None

    def all(self) -> list[ModelDifference]:
        mending = []
        for key in sorted(self.held.keys() | self.listed.keys()):
            going = self._going(key)
            if going:
                staying = [name for name in self.held.get(key, {}) if name not in going]
                mending.append(self._removal(key, going, staying))
        return mending

    def _going(self, key: Key) -> list[str]:
        names, stays = self.held.get(key, {}), self.declared.get(key)
        if stays is not None:
            return [name for name in names if _is_ours(name, self.desired.owner) and name not in stays]
        return [name for name in names if self.desired.prune or _is_ours(name, self.desired.owner)]

    def _removal(self, key: Key, going: list[str], staying: list[str]) -> ModelDifference:
        ids, path = self.held[key], f"{self.desired.path}/credentials"
        named = {"model": key[0], "model_type": key[1]}
        in_use, undeclared = key in self.listed, key not in self.declared
        calls: list[Call] = []
        declared = "not declared" if not staying else f"without {', '.join(going)}"
        live = f"registered with {', '.join(sorted(ids))}"
        comes_last, blocked = False, None
        if undeclared and staying and in_use:  # a declared model uses the declared credential by then
            keeper = self._keeper(key, going, staying)
            if keeper is not None:
                calls.append(Call("POST", f"{path}/switch", {**named, "credential_id": ids[keeper]}))
        elif undeclared and in_use:
            blocked = self._blocked(key)
            if blocked is None:
                live += self._unseen_words()
                calls, successor, comes_last = self._successor(key)
                declared += successor
        calls += [Call("DELETE", path, {**named, "credential_id": ids[name]}) for name in going]
        ours = all(_is_ours(name, self.desired.owner) for name in going)
        action = "remove" if ours else "prune"
        subject = f"model {key[0]}"
        return ModelDifference(
            action, subject, declared, live, tuple(calls), self.desired.provider, key, (), blocked, comes_last
        )

    def _keeper(self, key: Key, going: list[str], staying: list[str]) -> str | None:
        """The credential to switch to, where the one in use goes: the model would be left without any. Dify refuses a
        switch to the one that is in use.
        """
        current = credentials_view(self.client, self.desired.provider, *key)["current_credential_name"]
        if current in staying:
            return None
        return self.desired.owner if self.desired.owner in staying else staying[0]

    def _blocked(self, key: Key) -> SteelyardError | None:
        """The reason for which a model stays; None where it may go."""
        if self.desired.remove_used:
            return None
        uses = self._read()
        users = uses.of(self.desired.provider, *key)
        if key[1] in self.given:  # it goes to another in this run
            users = [user for user in users if user != f"default {key[1]}"]
        if users:
            more = f" and {len(users) - SHOWN} more" if len(users) > SHOWN else ""
            return DifyModelUsed(where=self.client.where, model=key[0], users=", ".join(users[:SHOWN]) + more)
        if uses.role != OWNER and key[1] in OF_KNOWLEDGE:
            login, role = self.client.access.email, uses.role or "of a role that Dify does not tell"
            unseen = ", ".join(uses.unseen)
            return DifyUsersUnseen(where=self.client.where, model=key[0], login=login, role=role, unseen=unseen)
        return None

    def _read(self) -> Uses:
        self._uses = self._uses or read_uses(self.client)
        return self._uses

    def _unseen_words(self) -> str:
        unseen = self._uses.unseen if self._uses else ()
        return f"; not looked at for users: {', '.join(unseen)}" if unseen else ""

    def _successor(self, key: Key) -> tuple[list[Call], str, bool]:
        """The calls that give a default to another model before it goes, words for the plan, and whether the removal
        must wait for the models of this run. Dify keeps naming a default that is gone, and cannot be told to have none.
        """
        model_type = key[1]
        if not self.desired.remove_used or model_type in self.given:
            return [], "", False  # a default is a use, and blocks; or it goes to another in this run
        if default_of(self.client, model_type) != (self.desired.provider, key[0]):
            return [], "", False
        ours = [model.model for model in self.desired.models if model.type == model_type and model.enabled]
        if ours:
            other = (self.desired.provider, ours[0])
        else:
            known = self.client.get(f"/workspaces/current/models/model-types/{model_type}")["data"]
            others = [
                (str(entry["provider"]), str(model["model"]))
                for entry in known
                for model in entry["models"]
                if model.get("status") == "active" and self._stays((model["model"], model_type), entry["provider"])
            ]
            if not others:
                return [], f"; it stays the default {model_type} by name, for there is no other", False
            other = others[0]
        setting = {"model_type": model_type, "provider": other[0], "model": other[1]}
        call = Call("POST", DEFAULT, {"model_settings": [setting]})
        return [call], f"; default {model_type}: {other[1]}", bool(ours)

    def _stays(self, key: Key, provider: str) -> bool:
        """Whether a model is there after this run."""
        if provider != self.desired.provider:
            return True
        return key in self.declared or set(self.held.get(key, {})) > set(self._going(key))


def _is_ours(name: str, owner: str) -> bool:
    """Further credentials are named `OWNER-NAME`."""
    return name == owner or name.startswith(f"{owner}-")
