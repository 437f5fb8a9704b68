"""`models add` from a Hub: a server of ours that answers as the Hub does, and the Hub's real client."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from steelyard.errors import HubRefused, HubUnreachable, SourceAltered, SourceMissing, SourceRefused, SourceWrong
from steelyard.models.sources.hub import HubSource, fetch, parse, snapshot
from steelyard.models.sources.record import FetchRequest, fetched, record_path
from steelyard.models.sources.resolve import read_manifest

COMMIT = "a" * 40
TOKEN = "hf_canary"
WEIGHTS = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"


class SimulatedHub(ThreadingHTTPServer):
    """The routes that the client uses (docs/design/model-store.md). `lfs` files have a sha256, others git's blob id."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.files = {"config.json": b"{}", "model.safetensors": WEIGHTS, "README.md": b"# x"}
        self.lfs = {"model.safetensors"}
        self.served: dict[str, bytes] = {}  # other bytes than the hashes are of
        self.gated = self.failing = False
        self.asked: list[str] = []
        self.cut: set[str] = set()  # files whose first answer ends early

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def tree(self) -> list[dict[str, Any]]:
        found = []
        for name, content in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": blob}
            if name in self.lfs:
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
            found.append(entry)
        return found


class _Answers(BaseHTTPRequestHandler):
    server: SimulatedHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.server, self.path.split("?")[0]
        hub.asked.append(f"{self.command} {path}")
        if hub.failing:
            return self._say(502, b"")
        if hub.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._say(401, b"", {"X-Error-Code": "GatedRepo"})
        if not re.match(r"/(api/models/)?org/name(/|$)", path):
            return self._say(404, b"", {"X-Error-Code": "RepoNotFound"})
        if re.fullmatch(r"/api/models/org/name/revision/(main|a{40})", path):
            return self._json({"id": "org/name", "sha": COMMIT, "cardData": {"license": "apache-2.0"}, "siblings": []})
        if "/revision/" in path:
            return self._say(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if path.startswith(f"/api/models/org/name/tree/{COMMIT}"):
            return self._json(hub.tree())
        name = path.removeprefix(f"/org/name/resolve/{COMMIT}/")
        if name not in hub.files:
            return self._say(404, b"", {"X-Error-Code": "EntryNotFound"})
        content = hub.served.get(name, hub.files[name])
        etag = next(entry.get("lfs", entry)["oid"] for entry in hub.tree() if entry["path"] == name)
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.command == "GET" and name in hub.cut:
            hub.cut.discard(name)
            self._say(206 if start else 200, content[start:], headers, send=(len(content) - start) // 2)
            self.close_connection = True
            return None
        return self._say(206 if start else 200, content[start:], headers)

    def _json(self, found: Any) -> None:
        self._say(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None, send: int | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if send is None else body[:send])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedHub]:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    server = SimulatedHub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def add(
    hub: SimulatedHub, uri: str = "hf://org/name", token: str | None = None, code: bool = False, **more: Any
) -> HubSource:
    endpoints = more.get("endpoints", [hub.url])
    return parse(fetch(parse(uri, "x"), FetchRequest("llm/x", code, False, token, tuple(endpoints))).source, "x")


def test_a_revision_is_pinned_and_every_file_held_against_the_hubs_hash(hub: SimulatedHub) -> None:
    pinned = add(hub)
    assert pinned.uri == f"hf://org/name@{COMMIT}"
    record = json.loads(record_path(pinned.uri).read_text())
    assert (record["licence"], sorted(record["files"])) == ("apache-2.0", sorted(hub.files))
    manifest = read_manifest("llm/x", pinned.uri, "x")
    assert manifest.files["model.safetensors"].sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    before = len(hub.asked)
    add(hub, pinned.uri)
    assert not [line for line in hub.asked[before:] if line.startswith("GET /org")], (
        "a file that is here is not fetched again"
    )


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_is_altered_in_the_hubs_cache_is_not_used_and_can_be_fetched_anew(
    hub: SimulatedHub, name: str
) -> None:
    pinned = add(hub)
    before = read_manifest("llm/x", pinned.uri, "x").id
    (snapshot(pinned) / name).resolve().write_bytes(b"\x03" + WEIGHTS[1:] + b" ")
    with pytest.raises(
        SourceAltered, match=f"file `{re.escape(name)}` in .* is no longer what was fetched from hf://org/name@"
    ):
        read_manifest("llm/x", pinned.uri, "x")
    with pytest.raises(SourceRefused, match="it was removed"):
        add(hub, pinned.uri)
    assert add(hub, pinned.uri) == pinned
    assert read_manifest("llm/x", pinned.uri, "x").id == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_with_another_hash_is_named_and_removed(hub: SimulatedHub, name: str) -> None:
    hub.served[name] = b"x" * len(hub.files[name])
    with pytest.raises(SourceRefused, match=f"file `{re.escape(name)}` is refused: its hash is"):
        add(hub)
    assert not (snapshot(HubSource("org/name", COMMIT)) / name).exists()
    with pytest.raises(SourceMissing, match="not fetched on this machine"):
        read_manifest("llm/x", f"hf://org/name@{COMMIT}", "x")
    hub.served.clear()
    assert add(hub).pinned


def test_a_download_that_is_cut_goes_on(hub: SimulatedHub) -> None:
    hub.files["model.safetensors"] = WEIGHTS
    hub.cut = {"model.safetensors"}
    try:
        add(hub)
    except HubUnreachable:
        add(hub)  # where the client gave up, a second call takes it up
    assert read_manifest("llm/x", f"hf://org/name@{COMMIT}", "x").files["model.safetensors"].size == len(WEIGHTS)


def test_pickles_beside_safetensors_are_left_out_and_alone_refused(hub: SimulatedHub) -> None:
    hub.files["pytorch_model.bin"] = b"pickle"
    assert "pytorch_model.bin" not in fetched(add(hub).uri, "llm/x", "x").files
    del hub.files["model.safetensors"]
    with pytest.raises(SourceRefused, match=r"pytorch_model\.bin` is refused: pickle weights"):
        add(hub)


def test_code_comes_only_where_it_is_allowed(hub: SimulatedHub) -> None:
    hub.files["modeling_x.py"] = b"import os"
    with pytest.raises(SourceRefused, match="code, which an engine may run"):
        add(hub)
    pinned = add(hub, code=True)
    with pytest.raises(SourceRefused, match="code, which an engine may run"):
        read_manifest("llm/x", pinned.uri, "x")
    assert "modeling_x.py" in read_manifest("llm/x", pinned.uri, "x", code=True).files


def test_what_the_hub_refuses_is_one_sentence(hub: SimulatedHub) -> None:
    with pytest.raises(HubRefused, match="no revision `nope`"):
        add(hub, "hf://org/name@nope")
    with pytest.raises(HubRefused, match="no such repository"):
        add(hub, "hf://org/other")
    hub.gated = True
    with pytest.raises(HubRefused, match="gated, and no token was given"):
        add(hub)
    with pytest.raises(HubRefused, match="this token may not read it"):
        add(hub, token="hf_wrong")
    assert add(hub, token=TOKEN).pinned
    for uri in ("Qwen3-8B", "hf://", "hf://org/name/more/../x", "hf://org/name@"):
        with pytest.raises(SourceWrong):
            parse(uri, "x")


def test_a_mirror_is_tried_where_the_hub_does_not_answer_and_then_both_are_named(hub: SimulatedHub) -> None:
    gone = "http://127.0.0.1:9"
    assert add(hub, endpoints=[gone, hub.url]).pinned
    hub.failing = True
    with pytest.raises(HubUnreachable) as told:
        add(hub, endpoints=[gone, hub.url])
    assert gone in str(told.value) and f"{hub.url}: " in str(told.value)
    assert "\n" not in str(told.value)
