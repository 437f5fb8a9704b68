"""Objects that Weaviate holds, asked over its own API: how many by collection, and whether some are found.

An index that broke says nothing of it: counts and lists stay as they were, and a search misses objects. So a few
objects are searched for by the vector that is stored with them, before and after. Its container publishes no port; the
host reaches it by its address in the project's network, and the key goes in a header, so it is in no argv.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from typing import Any, NamedTuple

from steelyard_host.dify import env_file
from steelyard_host.dify.stack import DifyError, Stack
from steelyard_host.dify.stores import WEAVIATE
from steelyard_host.system.http_body import body_of

PORT = 8080
ASK_S = 60
LOOK_S = 2.0  # between two looks at a Weaviate that is still loading
SETTLE_S = 120.0  # collections are there some seconds after it says that it is ready
STOP_S = 600  # killed before it has written its index, it loses objects from it
SEARCHED = 20  # collections, the largest first
SAMPLES = 3  # objects of each
HITS = 10
SAME = 1e-4  # distance of an object with the same vector
NAME = re.compile(r"^[A-Za-z_][0-9A-Za-z_]*$")


class Collection(NamedTuple):
    """The objects of a collection; `hits`: ids of those that a search by their own vector found."""

    objects: int
    hits: tuple[str, ...] = ()


class Vectors(NamedTuple):
    """All that Weaviate holds, by collection; `version`: its own."""

    version: str
    collections: dict[str, Collection]

    @property
    def shown(self) -> str:
        """The collections in words."""
        objects = sum(held.objects for held in self.collections.values())
        hits = sum(len(held.hits) for held in self.collections.values())
        counted = (len(self.collections), objects, hits)
        return "%d collections with %d vectors, %d of them searched for and found" % counted


def read(stack: Stack, before: Vectors | None = None) -> Vectors:
    """The state of Weaviate; with `before`, the same objects are searched for as then. Raises DifyError."""
    link = _Link(stack)
    version = str(link.ask("GET", "/v1/meta").get("version") or "")
    if not version:
        raise DifyError("Weaviate does not say which release it is")
    names = [str(entry["class"]) for entry in link.ask("GET", "/v1/schema").get("classes") or ()]
    counts = link.counts([name for name in names if NAME.match(name)])
    largest = sorted(counts, key=lambda name: (-counts[name], name))[:SEARCHED]
    collections = {}
    for name, objects in counts.items():
        known = before.collections.get(name) if before is not None else None
        ids = known.hits if known is not None else link.ids(name) if name in largest and objects else ()
        collections[name] = Collection(objects, tuple(id for id in ids if link.is_found(name, id)))
    return Vectors(version, collections)


def lost(before: Vectors, after: Vectors) -> str:
    """The first thing that was there before and is not any more, in words; empty where all is."""
    for name, held in before.collections.items():
        left = after.collections.get(name)
        if left is None:
            return "the collection %s is gone from Weaviate %s" % (name, after.version)
        if left.objects < held.objects:
            left_of = (left.objects, held.objects, name, after.version)
            return "%d of %d vectors of the collection %s are left at Weaviate %s" % left_of
        missing = [id for id in held.hits if id not in left.hits]
        if missing:
            return "the search of Weaviate %s does not find the vector of %s in the collection %s, which %s found" % (
                after.version,
                missing[0],
                name,
                before.version,
            )
    return ""


def settled(stack: Stack, before: Vectors | None, minor: tuple[int, ...] | None, seconds: float) -> Vectors:
    """The state of Weaviate when it has loaded everything. Raises DifyError where something is lost, or it is another
    release than `minor`.
    """
    start, end = time.monotonic(), time.monotonic() + seconds
    while True:
        settling = time.monotonic() - start < SETTLE_S
        try:
            held = read(stack, before)
            why = lost(before, held) if before is not None else ""
            if minor is not None and _minor(held.version) != minor:
                raise DifyError(
                    "the image of Weaviate is named %s and says that it is %s: give it a name with its release in "
                    "`dify.images`" % (".".join(map(str, minor)), held.version)
                )
            if not why:
                return held
        except _NotYet as error:
            why, settling = str(error), True
        if not settling or time.monotonic() > end:
            raise DifyError(why)
        time.sleep(LOOK_S)


def _minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def stop(stack: Stack) -> None:
    """Stops Weaviate so that its index is whole on the disk. Raises DifyError where it had to be killed."""
    stack.compose("stop", "--timeout", str(STOP_S), WEAVIATE)
    ended = stack.containers().get(WEAVIATE)
    if ended is not None and ended.state == "exited" and ended.exit == 137:
        raise DifyError("Weaviate did not stop within %d s and was killed: its index may miss objects" % STOP_S)


class _NotYet(DifyError):
    """Weaviate does not answer, or not with what it will."""


def _is_same(distance: object) -> bool:
    return isinstance(distance, (int, float)) and abs(distance) < SAME


class _Missing(_NotYet):
    """Weaviate has no such object."""


class _Link:
    """Questions to the Weaviate of a stack."""

    def __init__(self, stack: Stack) -> None:
        address = stack.address(WEAVIATE)
        if address is None:
            raise _NotYet("Weaviate has no container that runs")
        live = env_file.live_texts(stack.folder)
        keys = live.get("WEAVIATE_AUTHENTICATION_APIKEY_ALLOWED_KEYS") or live.get("WEAVIATE_API_KEY") or ""
        key = keys.split(",")[0].strip()
        self._address = address
        self._headers = {"Content-Type": "application/json", **({"Authorization": "Bearer " + key} if key else {})}

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The answer's object. Raises DifyError."""
        connection = http.client.HTTPConnection(self._address, PORT, timeout=ASK_S)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, self._headers)
            answer = connection.getresponse()
            text = body_of(answer)
            status = answer.status
        except (OSError, http.client.HTTPException) as error:
            raise _NotYet("Weaviate does not answer: %s" % (getattr(error, "strerror", None) or error)) from error
        finally:
            connection.close()
        if status != 200:
            kind = _Missing if status == 404 else _NotYet
            raise kind("Weaviate answers %s %s with %d" % (method, path.partition("?")[0], status))
        try:
            document = json.loads(text)
        except ValueError as error:
            raise _NotYet("what answers %s %s is no Weaviate" % (method, path.partition("?")[0])) from error
        if not isinstance(document, dict) or document.get("errors"):
            raise _NotYet("Weaviate cannot answer %s: %.200s" % (path.partition("?")[0], text.decode(errors="replace")))
        return document

    def query(self, text: str) -> dict[str, Any]:
        """The data of a GraphQL query. Raises DifyError."""
        data = self.ask("POST", "/v1/graphql", {"query": text}).get("data")
        return data if isinstance(data, dict) else {}

    def counts(self, names: list[str]) -> dict[str, int]:
        """Objects by collection."""
        counts = {}
        for at in range(0, len(names), 50):
            asked = names[at : at + 50]
            data = self.query("{ Aggregate { %s } }" % " ".join("%s { meta { count } }" % name for name in asked))
            for name in asked:
                entries = (data.get("Aggregate") or {}).get(name) or [{}]
                counts[name] = int((entries[0].get("meta") or {}).get("count") or 0)
        return counts

    def ids(self, name: str) -> tuple[str, ...]:
        """Ids of some objects of a collection."""
        listed = self.ask("GET", "/v1/objects?class=%s&limit=%d" % (name, SAMPLES)).get("objects") or ()
        return tuple(str(entry["id"]) for entry in listed)

    def is_found(self, name: str, id: str) -> bool:
        """Whether a search by the vector that is stored with an object finds it, or one that has the same."""
        try:
            stored = self.ask("GET", "/v1/objects/%s/%s?include=vector" % (name, id))
        except _Missing:
            return False
        vectors = stored.get("vectors") or {}
        target = next(iter(vectors), None)
        vector = vectors[target] if target is not None else stored.get("vector")
        if not vector:
            return False
        which = "" if target is None else ", targetVectors: [%s]" % json.dumps(target)
        near = "vector: %s%s" % (json.dumps(vector), which)
        text = "{ Get { %s(limit: %d, nearVector: {%s}) { _additional { id distance } } } }" % (name, HITS, near)
        hits = [hit.get("_additional") or {} for hit in (self.query(text).get("Get") or {}).get(name) or ()]
        return any(hit.get("id") == id or _is_same(hit.get("distance")) for hit in hits)
