"""The lab's simulated Dify answers every recorded exchange of the real one with the same status, shape and values."""

from __future__ import annotations

import fnmatch
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dify_double import upstream
from dify_double.not_imitated import NOT_IMITATED
from dify_double.router import Console, fresh_state

RECORDED = sorted((Path(__file__).parent.parent / "data" / "dify-1.16.1").glob("*.json"))
# where whoever recorded waited for a plugin to be installed
WAITED_BEFORE = ("31-plugin-task-poll", "b05-models-after-reinstall", "c38-vllm-task")
MADE = r"[0-9a-f]{8}-[0-9a-f]{4}-|@[0-9a-f]{64}$"  # ids that each server makes for itself
KEY = "sk-fake-vllm"
MODELS = ("Qwen/Qwen3-8B", "BAAI/bge-m3", "BAAI/bge-reranker-v2-m3")
NOT_FOUND = (
    "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested "
    "URL was not found on "
    "the server. If you entered the URL manually please check your spelling and try again.</p>\n"
)


class Engine(BaseHTTPRequestHandler):
    """Answers as the engine behind the recordings did."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, text = 200, "{}"
        if self.path not in ("/v1/chat/completions", "/v1/embeddings", "/v1/rerank"):
            status, text = 404, NOT_FOUND
        elif self.headers.get("Authorization") != f"Bearer {KEY}":
            status, text = 401, '{"error":"Unauthorized"}\n'
        elif body["model"] not in MODELS:
            message = f"The model `{body['model']}` does not exist."
            error = {"code": 404, "message": message, "type": "NotFoundError"}
            status, text = 404, json.dumps({"error": error}, separators=(",", ":")) + "\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def engine_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


class Replay:
    """Feeds recorded requests to the double; ids and tokens that the real one made are replaced by the double's."""

    def __init__(self, engine_port: int) -> None:
        def ask(model: str, model_type: str, credentials: dict[str, str]) -> None:
            moved = {**credentials, "endpoint_url": credentials["endpoint_url"].replace(":18000", f":{engine_port}")}
            upstream.ask(model, model_type, moved)

        self.now = 0.0
        self.console = Console(fresh_state(), ask, init_password="initpw-123", clock=lambda: self.now)
        self.known: dict[str, str] = {}

    def translated(self, value: Any) -> Any:
        text = json.dumps(value)
        for theirs, ours in self.known.items():
            text = text.replace(theirs, ours)
        return json.loads(text)

    def learn(self, recorded: Any, ours: Any) -> None:
        if isinstance(recorded, dict) and isinstance(ours, dict):
            for key in recorded.keys() & ours.keys():
                self.learn(recorded[key], ours[key])
        elif isinstance(recorded, list) and isinstance(ours, list):
            for theirs, mine in zip(recorded, ours, strict=False):
                self.learn(theirs, mine)
        elif isinstance(recorded, str) and isinstance(ours, str) and re.search(MADE, recorded):
            self.known[recorded] = ours

    def run(self, name: str, exchange: dict[str, Any]) -> tuple[int, list[str], Any]:
        self.now += 3.0 if name in WAITED_BEFORE else 0.1
        request, response = exchange["request"], exchange["response"]
        asked = self.translated({"path": request["path"], "headers": request["headers"], "body": request["body"]})
        status, cookies, body = self.console.handle(request["method"], asked["path"], asked["headers"], asked["body"])
        for theirs in response.get("set_cookie") or []:
            name, _, value = theirs.split(";")[0].partition("=")
            for mine in cookies:
                if mine.startswith(name + "=") and value:
                    self.known[value] = mine.split(";")[0].partition("=")[2]
        self.learn(response["body"], body)
        return status, cookies, body


def not_imitated(path: str) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in NOT_IMITATED)


def compare(recorded: Any, ours: Any, known: dict[str, str], path: str = "") -> list[str]:
    """Every difference of shape or value, less what the table names."""
    if not_imitated(path):
        return []
    if isinstance(recorded, dict):
        if not isinstance(ours, dict) or recorded.keys() != ours.keys():
            return [f"{path}: keys {sorted(recorded)} != {sorted(ours) if isinstance(ours, dict) else ours}"]
        return [line for key in recorded for line in compare(recorded[key], ours[key], known, f"{path}.{key}")]
    if isinstance(recorded, list):
        if not isinstance(ours, list) or len(recorded) != len(ours):
            return [f"{path}: {len(recorded)} entries != {ours}"]
        pairs = enumerate(zip(recorded, ours, strict=True))
        return [line for number, (a, b) in pairs for line in compare(a, b, known, f"{path}.{number}")]
    if isinstance(recorded, str):
        recorded = known.get(recorded, recorded)
        if path == ".message" or path == ".error":
            recorded, ours = told(recorded), told(str(ours))
    return [] if recorded == ours else [f"{path}: {recorded!r} != {ours!r}"]


def told(text: str) -> str:
    """A message without the three tails the table names: network, route, schema."""
    for start in (
        "An error occurred during credentials validation: HTTPConnectionPool(host=",
        "1 validation error for ",
    ):
        if text.startswith(start):
            return start
    return (
        re.sub(r"(The requested URL was not found on the server\.) If .*$", r"\1", text, flags=re.S)
        if "URI" in text
        else text
    )


def test_every_recorded_exchange_is_answered_alike(
    engine_port: int, record_property: Callable[[str, object], None]
) -> None:
    replay, wrong = Replay(engine_port), []
    for path in RECORDED:
        exchange = json.loads(path.read_text())
        status, cookies, body = replay.run(path.stem, exchange)
        response = exchange["response"]
        if status != response["status"]:
            wrong.append(f"{path.stem}: status {response['status']} != {status} {body}")
            continue
        theirs = response["body"] if response["body"] != "" else None
        wrong += [f"{path.stem}{line}" for line in compare(theirs, body, replay.known)]
        names = sorted(cookie.split("=")[0] for cookie in response.get("set_cookie") or [])
        if names != sorted(cookie.split("=")[0] for cookie in cookies):
            wrong.append(f"{path.stem}: cookies {names} != {cookies}")
    record_property("pairs_replayed", len(RECORDED))
    record_property("pairs_matched", len(RECORDED) - len({line.split(":")[0].split(".")[0] for line in wrong}))
    assert len(RECORDED) >= 154
    assert wrong == []


def test_the_table_of_what_is_not_imitated_names_nothing_that_registration_reads() -> None:
    read = [".data.0.model", ".data.0.status", ".available_credentials.0.credential_name", ".credentials.endpoint_url"]
    assert [path for path in read if not_imitated(path)] == []
