"""Objects that a check has in Dify for a moment: apps, knowledge bases and their keys. Each is noted before it is used
and removed whatever happens; what killed checks left is removed too.

A signal never falls between the making of an object and its note, nor into its removal. Only what a check made is
removed: what a note names, or what bears a check's name and description and is older than any living check's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

from steelyard.errors import DifyKeysFull, DifyRefused, SteelyardError
from steelyard.interrupts.signals import HANDLER

from .check_names import DESCRIPTION, PREFIX, description_with, is_left_over, key_in, name_at, new_nonce
from .check_notes import CheckNotes, left_behind
from .client import DifyClient

KEYS = "/datasets/api-keys"
MOST_KEYS = "10"
PAGE = 100


class CheckObjects:
    """The objects of one check. `left` tells what could not be removed, and why; empty where nothing stayed."""

    def __init__(self, client: DifyClient, notes: CheckNotes | None = None) -> None:
        self.client = client
        self.left: list[str] = []
        self._notes = notes or CheckNotes(client.where)

    def close(self) -> None:
        """End the notes; those of what stayed are for the next check."""
        self._notes.close()

    @contextmanager
    def app(self, configuration: Mapping[str, object]) -> Iterator[str]:
        """The key of a chat app that is there as long as the block runs."""
        name = self._name()
        body = {"name": name, "mode": "chat", "icon_type": "emoji", "icon": "x", "description": DESCRIPTION}
        with self._made(f"app `{name}`", "/apps", partial(self.client.send, "POST", "/apps", body), name) as app:
            path = f"/apps/{app['id']}"
            self.client.send("POST", f"{path}/model-config", configuration)
            self.client.send("POST", f"{path}/api-enable", {"enable_api": True})
            yield self.client.send("POST", f"{path}/api-keys", None)["token"]

    @contextmanager
    def knowledge_key(self) -> Iterator[tuple[str, str]]:
        """The id and the token of a key for knowledge bases. Raises DifyKeysFull where Dify gives no more."""
        with self._made("an API key for knowledge bases", KEYS, self._new_key) as key:
            yield key["id"], key["token"]

    @contextmanager
    def knowledge(
        self, key_id: str, settings: Mapping[str, object], make: Callable[[Mapping[str, object]], Any]
    ) -> Iterator[str]:
        """The id of a knowledge base that is there as long as the block runs; `make` makes it of its settings."""
        name = self._name()
        body = {**settings, "name": name, "description": description_with(key_id), "permission": "only_me"}
        with self._made(f"knowledge base `{name}`", "/datasets", partial(make, body), name) as dataset:
            yield dataset["id"]

    def _name(self) -> str:
        return name_at(self.client.clock(), new_nonce())

    def _new_key(self) -> Any:
        try:
            return self.client.send("POST", KEYS, None)
        except DifyRefused as refused:
            if refused.code == "max_keys_exceeded":
                raise DifyKeysFull(where=self.client.where, most=MOST_KEYS) from refused
            raise

    @contextmanager
    def _made(self, what: str, below: str, make: Callable[[], Any], name: str = "") -> Iterator[Any]:
        """What `make` answers, which is there as long as the block runs; noted by its name before it is made."""
        path, intended = "", f"{below}?{name}"
        try:
            with HANDLER.whole():
                if name:
                    self._notes.add(intended, what)
                made = make()
                path = f"{below}/{made['id']}"
                self._notes.add(path, what)
                self._notes.remove(intended)
            yield made
        finally:
            if path:
                with HANDLER.whole(lambda: [f"{what} stays in Dify; the next `steelyard dify check` removes it"]):
                    self._remove(path, what)

    def _remove(self, path: str, what: str) -> None:
        """Remove an object; what stays is told and noted, and takes the place of no other error."""
        try:
            remove(self.client, path)
        except SteelyardError as error:
            self.left.append(f"{what}: {error}")
        else:
            self._notes.remove(path)

    def remove_left_behind(self) -> Sequence[str]:
        """Remove what killed checks left in this Dify; their words, sorted. What cannot be removed is in `left`."""
        removed: dict[str, str] = {}
        for notes in left_behind(self.client.where):
            for noted, what in sorted(notes.objects.items(), key=lambda entry: entry[0].startswith(KEYS)):
                paths = self._named(noted) if "?" in noted else [noted]
                gone = [path for path in paths if self._gone(path, what)]
                removed |= dict.fromkeys(gone, what)
                if gone == paths:
                    notes.gone(noted)
        for kind, title in (("apps", "app"), ("datasets", "knowledge base")):
            for entry in self._findable(kind, title):
                description = entry.get("description") or ""
                if not is_left_over(str(entry["name"]), description, self.client.clock()):
                    continue
                key, path, what = key_in(description), f"/{kind}/{entry['id']}", f"{title} `{entry['name']}`"
                if path not in removed and self._gone(path, what):
                    removed[path] = what
                if key is not None:  # the key's own note went with the machine on which it was written
                    self._gone(f"{KEYS}/{key}", f"the API key of {what}")
        return sorted(removed.values())

    def _gone(self, path: str, what: str) -> bool:
        """Whether an object that was left is there no more."""
        try:
            with HANDLER.whole():
                remove(self.client, path)
        except SteelyardError as error:
            self.left.append(f"{what}: {error}")
            return False
        return True

    def _named(self, intended: str) -> list[str]:
        """Paths of what was made by a check that was killed before it could note more than the name."""
        below, _, name = intended.partition("?")
        return [f"{below}/{entry['id']}" for entry in self._listed(below[1:]) if entry["name"] == name]

    def _findable(self, kind: str, title: str) -> list[dict[str, Any]]:
        """Entries of Dify's list as of `_listed`; none, and told, for a login that may not look."""
        try:
            return list(self._listed(kind))
        except DifyRefused as refused:
            self.left.append(f"what killed checks may have left as {title}, for it cannot be looked for: {refused}")
            return []

    def _listed(self, kind: str) -> Iterator[dict[str, Any]]:
        """Entries of Dify's list whose names may be a check's: it searches by them, and may be ignored."""
        start = quote(PREFIX)
        asked = f"name={start}" if kind == "apps" else f"include_all=true&keyword={start}"
        page, more = 1, True
        while more:
            answer = self.client.get(f"/{kind}?page={page}&limit={PAGE}&{asked}")
            yield from answer["data"]
            page, more = page + 1, bool(answer.get("has_more"))


def remove(client: DifyClient, path: str) -> None:
    """Remove an object by its path; one that is gone already is gone. Raises the client's errors."""
    try:
        client.send("DELETE", path, None)
    except DifyRefused as refused:
        if refused.status != "404":
            raise
