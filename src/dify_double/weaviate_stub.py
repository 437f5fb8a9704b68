"""Stands in for Weaviate: collections in one file of its volume, and the questions that an upgrade asks of it.

A volume that skips a minor release loses its index as the real one does: lists and counts stay as they were, and a
search finds nothing.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .json_object import JsonObject

VOLUME = Path("/var/lib/weaviate/data.json")
PORT = 8080


def started(held: JsonObject, version: str) -> JsonObject:
    """The volume after a start by this release."""
    skipped = int(version.split(".")[1]) - int(held["at"].split(".")[1]) > 1
    return {**held, "at": version, "broken": held["broken"] or skipped}


def answer(held: JsonObject, path: str, query: str) -> Any:
    """The answer to a path, or to a GraphQL query at it; None where there is no such object."""
    collections: dict[str, dict[str, list[float]]] = held["collections"]
    if path == "/v1/meta":
        return {"version": held["at"]}
    if path == "/v1/schema":
        return {"classes": [{"class": name} for name in collections]}
    if "Aggregate" in query:
        return {"data": {"Aggregate": {name: [{"meta": {"count": len(of)}}] for name, of in collections.items()}}}
    if query:
        vector = json.loads(re.findall(r"vector: (\[.*?\])", query)[0])
        return {"data": {"Get": {name: _nearest(held, name, vector) for name in collections if name in query}}}
    if "?class=" in path:
        name = path.partition("class=")[2].partition("&")[0]
        return {"objects": [{"id": id} for id in sorted(collections[name])]}
    if path.startswith("/v1/objects/"):
        name, id = path.partition("?")[0].split("/")[3:5]
        stored = collections.get(name, {}).get(id)
        return None if stored is None else {"id": id, "vectors": {"default": stored}}
    return {}


def _nearest(held: JsonObject, name: str, vector: list[float]) -> list[JsonObject]:
    if held["broken"]:
        return []
    distances = {
        id: sum((stored[at] - vector[at]) ** 2 for at in range(len(vector)))
        for id, stored in held["collections"][name].items()
    }
    nearest = sorted(distances, key=lambda id: distances[id])[:10]
    return [{"_additional": {"id": id, "distance": distances[id]}} for id in nearest]


class Weaviate(BaseHTTPRequestHandler):
    def reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        keys = os.environ.get("AUTHENTICATION_APIKEY_ALLOWED_KEYS", "").split(",")
        known = (self.headers.get("Authorization") or "").partition("Bearer ")[2] in keys
        said: Any = {}
        if self.path != "/v1/.well-known/ready":
            said = answer(json.loads(VOLUME.read_text()), self.path, json.loads(body)["query"] if body else "")
            self.send_response(401 if not known else 404 if said is None else 200)
        else:
            self.send_response(200)
        text = json.dumps(said if known else {}).encode()
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = reply  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as process 1 it would not end otherwise
    version = os.environ["DOUBLE_WEAVIATE"]
    empty = {"at": version, "collections": {}, "broken": False}
    held = json.loads(VOLUME.read_text()) if VOLUME.exists() else empty
    VOLUME.write_text(json.dumps(started(held, version)))
    print("simulated Weaviate %s" % version, flush=True)
    ThreadingHTTPServer(("", PORT), Weaviate).serve_forever()


if __name__ == "__main__":
    main()
