"""The exchanges recorded from the real Dify, and a replay of them against the double, with every difference told.

What a server made for itself (ids, tokens, checksums, batches) is paired with what the double made in its place when it
is first seen, and held to that pair from then on.
"""

from __future__ import annotations

import fnmatch
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dify_double.not_imitated import LEFT_OUT, NOT_IMITATED, NOT_RECORDED
from dify_double.router import Console, fresh_state
from dify_double.routes import content_type
from dify_double.upstream import ask, complete

DATA = Path(__file__).parent.parent / "data"
FIRST = sorted((DATA / "dify-1.16.1").glob("*.json"))
SECOND = sorted((DATA / "dify-1.16.1-real").glob("*.json"))
NEWER_DAEMON = sorted((DATA / "dify-1.16.1-real" / "daemon-0.6.6").glob("*.json"))
MADE = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"
    r"|(?:app|dataset)-\w{24}|(?<!\d)\d{20}(?!\d)"
)
KEY = "sk-fake-vllm"
EMBEDDINGS, CHUNKS = "/v1/embeddings", ("Hello", " there", ".")
CHAT = ("Qwen/Qwen3-8B", "gpt-4o-mini")
MODELS = (*CHAT, "BAAI/bge-m3", "BAAI/bge-reranker-v2-m3", "openai/whisper", "kokoro")
NOT_FOUND = (
    "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested "
    "URL was not found on the server. If you entered the URL manually please check your spelling and try again.</p>\n"
)


@cache
def recorded_routes() -> dict[str, frozenset[int]]:
    """Every route that a recorded request reached, with the statuses that it answered."""
    console = Console(fresh_state(), ask)
    statuses: dict[str, set[int]] = {}
    for path in (*FIRST, *SECOND, *NEWER_DAEMON):
        exchange = json.loads(path.read_text())
        route = console.route_of(exchange["request"]["method"], exchange["request"]["path"])
        if route is not None:
            statuses.setdefault(route, set()).add(exchange["response"]["status"])
    return {route: frozenset(seen) for route, seen in statuses.items()}


@cache
def recorded_paths() -> frozenset[tuple[str, str]]:
    """Method and path of every recorded request, without its query."""
    requests = [json.loads(path.read_text())["request"] for path in (*FIRST, *SECOND, *NEWER_DAEMON)]
    return frozenset((request["method"], request["path"].split("?")[0]) for request in requests)


def is_recorded(console: Console, method: str, target: str) -> bool:
    """Tell whether the real one's answer to such a request was recorded, or the table says that none was."""
    path = target.split("?")[0]
    if console.route_of(method, target) in recorded_routes() or (method, path) in recorded_paths():
        return True
    return any(fnmatch.fnmatch(path, "/console/api" + pattern) for pattern in NOT_RECORDED)


class Endpoint(BaseHTTPRequestHandler):
    """Answers as the endpoint behind the recordings did; `down` and `unauthorized` are set on a subclass."""

    down = False
    unauthorized = '{"error":"Unauthorized"}\n'

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        form = re.search(rb'name="model"\r\n\r\n([^\r]+)', content)
        body = {"model": form[1].decode()} if form else json.loads(content)
        status, kind, text = self.answered(body)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def answered(self, body: dict[str, Any]) -> tuple[int, str, bytes]:
        """Status, media type and content of the answer."""
        if self.down:
            return 503, "application/json", b'{"error": {"message": "no server is available"}}'
        served = {
            "/v1/chat/completions": chat,
            EMBEDDINGS: embeddings,
            "/v1/rerank": rerank,
            "/v1/audio/transcriptions": lambda _: {"text": "a tone"},
            "/v1/audio/speech": lambda _: b"\0" * 510,
        }
        if self.path not in served:
            return 404, "text/html", NOT_FOUND.encode()
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return 401, "application/json", self.unauthorized.encode()
        if body["model"] not in MODELS:
            error = {"code": 404, "message": f"The model `{body['model']}` does not exist.", "type": "NotFoundError"}
            return 404, "application/json", (json.dumps({"error": error}, separators=(",", ":")) + "\n").encode()
        answer = served[self.path](body)
        if isinstance(answer, bytes):
            return 200, "text/event-stream" if self.path.startswith("/v1/chat") else "audio/mpeg", answer
        return 200, "application/json", json.dumps(answer).encode()

    def log_message(self, *_: object) -> None:
        pass


def chat(body: dict[str, Any]) -> Any:
    """One answer, or a stream of its parts."""
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    if not body.get("stream"):
        return {"choices": [{"message": {"content": "pong"}, "finish_reason": "stop"}], "usage": usage}
    deltas = [{"choices": [{"delta": {"content": chunk}, "finish_reason": None}]} for chunk in CHUNKS]
    deltas += [{"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage}]
    return b"".join(b"data: %s\n\n" % json.dumps(delta).encode() for delta in deltas) + b"data: [DONE]\n\n"


def embeddings(body: dict[str, Any]) -> Any:
    """A vector for each text: those that speak of a steelyard point one way, all others the other way."""
    return {"data": [{"embedding": [1.0 if "steelyard" in text else -1.0, 0.5]} for text in body["input"]]}


def rerank(body: dict[str, Any]) -> Any:
    """Each document by its place."""
    return {"results": [{"index": n, "relevance_score": 1 / (n + 1)} for n, _ in enumerate(body["documents"])]}


@contextmanager
def endpoint(unauthorized: str = Endpoint.unauthorized) -> Iterator[tuple[int, type[Endpoint]]]:
    """Port of a running endpoint, and the class whose `down` switches it."""
    handler = type("Switched", (Endpoint,), {"unauthorized": unauthorized})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_port, handler
    server.shutdown()


Answer = tuple[int, list[str], Any, str]  # status, Set-Cookie values, body, media type


class Replay:
    """Feeds recorded requests to a double and tells every difference of its answers.

    `waits` are the seconds that pass before a recording of this name, `before` what happened outside the API.
    """

    def __init__(self, port: int, waits: dict[str, float], before: dict[str, Callable[[Replay], None]], **more: Any):
        self.now, self.waits, self.before = 1_800_000_000.0, waits, before
        given = {"complete": complete, "url": "http://127.0.0.1:15001", **more}
        self.console = Console(fresh_state(), ask, "initpw-123", clock=lambda: self.now, **given)
        self.known = {"127.0.0.1:18000": f"127.0.0.1:{port}"}

    def translated(self, value: Any) -> Any:
        """What was recorded, with what the double made in the place of what the server had made."""
        text = json.dumps(value)
        for theirs, ours in self.known.items():
            if theirs in text:
                text = text.replace(theirs, ours)
        return json.loads(text)

    def learn(self, recorded: Any, ours: Any) -> None:
        """Pair what each made for itself, where it is first seen."""
        if isinstance(recorded, dict) and isinstance(ours, dict):
            for key in sorted(recorded.keys() & ours.keys()):
                self.learn(recorded[key], ours[key])
                if key == "access_token":  # of an app's page, where it is its `code` too
                    self.known.setdefault(recorded[key], ours[key])
        elif isinstance(recorded, list) and isinstance(ours, list):
            for theirs, mine in zip(recorded, ours, strict=False):
                self.learn(theirs, mine)
        elif isinstance(recorded, str) and isinstance(ours, str):
            pairs = MADE.findall(recorded), MADE.findall(ours)
            if len(pairs[0]) == len(pairs[1]) and MADE.sub("", recorded) == MADE.sub("", ours):
                for theirs, mine in zip(*pairs, strict=True):
                    if theirs != mine:
                        self.known.setdefault(theirs, mine)

    def send(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        """The double's answer; asked without a network."""
        status, cookies, answer = self.console.handle(method, path, headers, body)
        return status, cookies, answer, content_type(answer)

    def differences(self, name: str, exchange: dict[str, Any]) -> list[str]:
        """Every difference between the recorded answer and the double's, less what the table names."""
        self.now += 0.1 + self.waits.get(name, 0.0)
        self.before.get(name, lambda _: None)(self)
        request, response = exchange["request"], exchange["response"]
        asked = self.translated({"path": request["path"], "headers": request["headers"], "body": request["body"]})
        status, cookies, body, kind = self.send(request["method"], asked["path"], asked["headers"], asked["body"])
        theirs, ours = read(response["body"], response["status"]), read(body, status)
        for cookie in response.get("set_cookie") or []:
            name, _, value = cookie.split(";")[0].partition("=")
            for mine in cookies:
                if mine.startswith(name + "=") and value:
                    self.known[value] = mine.split(";")[0].partition("=")[2]
        if status != response["status"]:
            return [f"status {response['status']} != {status} {ours}"]
        theirs, ours = by_name(theirs, ours)
        self.learn(theirs, ours)
        found = compare(self.translated(theirs), ours)
        names = sorted(cookie.split("=")[0] for cookie in response.get("set_cookie") or [])
        if names != sorted(cookie.split("=")[0] for cookie in cookies):
            found.append(f"cookies {names} != {cookies}")
        if status != 204 and response["content_type"] != kind:
            found.append(f"content type {response['content_type']} != {kind}")
        return found


def read(body: Any, status: int) -> Any:
    """A body in the one shape in which both are compared: events as a list, bytes as their number."""
    if isinstance(body, bytes):
        return f"<{len(body)} bytes: audio/mpeg>"
    if status == 204:
        return None
    if isinstance(body, str) and body.startswith(("data: ", "event: ")):
        blocks = [block.partition(": ") for block in body.strip().split("\n\n")]
        return [json.loads(rest) if kind == "data" else {kind: rest} for kind, _, rest in blocks]
    return body


def not_imitated(path: str) -> bool:
    """Tell whether the table says of this path that values are not the real one's."""
    return any(fnmatch.fnmatch(path, pattern) for pattern in NOT_IMITATED)


def kind_of(value: Any) -> str:
    """What is compared of a value that is not imitated: null, a number, a text, an object or a list."""
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def compare(recorded: Any, ours: Any, path: str = "") -> list[str]:
    """Every difference of shape or value. Of what the table names only the kind of value is compared, and nothing of
    what is below it.
    """
    if any(fnmatch.fnmatch(path, pattern) for pattern in LEFT_OUT):
        return []
    if not_imitated(path):
        return [] if kind_of(recorded) == kind_of(ours) else [f"{path}: {recorded!r} is of another kind than {ours!r}"]
    if isinstance(recorded, dict):
        if not isinstance(ours, dict) or recorded.keys() != ours.keys():
            return [f"{path}: keys {sorted(recorded)} != {sorted(ours) if isinstance(ours, dict) else ours}"]
        return [line for key in recorded for line in compare(recorded[key], ours[key], f"{path}.{key}")]
    if isinstance(recorded, list):
        if not isinstance(ours, list) or len(recorded) != len(ours):
            return [f"{path}: {len(recorded)} entries != {ours}"]
        pairs = enumerate(zip(recorded, ours, strict=True))
        return [line for number, (a, b) in pairs for line in compare(a, b, f"{path}.{number}")]
    if isinstance(recorded, str) and isinstance(ours, str):
        recorded, ours = told(recorded), told(ours)
        guess = recorded.find(" You have requested this URI [")
        if guess >= 0:
            recorded, ours = recorded[:guess].rstrip("."), ours.rstrip(".")
    return [] if recorded == ours else [f"{path}: {recorded!r} != {ours!r}"]


def told(text: str) -> str:
    """A text without what the table names: the words of the network, the time, a request's number, and what is left of
    an id in a shortened value.
    """
    start = "An error occurred during credentials validation: HTTPConnectionPool(host="
    if text.startswith(start):
        return start
    text = re.sub(r"^req_id: [0-9a-f]{10} ", "req_id: ", text)
    text = re.sub(r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?$", "a time", text)
    return re.sub(r"\.\.\.[0-9a-f]{0,4}-[0-9a-f]{4}-[0-9a-f]{12}", "...", text)


def by_name(recorded: Any, ours: Any) -> tuple[Any, Any]:
    """Two answers whose lists are in one order where that is by chance: of what was made in the same second."""
    if not isinstance(recorded, dict) or not isinstance(ours, dict):
        return recorded, ours
    lists = recorded.get("data"), ours.get("data")
    if not all(isinstance(each, list) for each in lists) or len(lists[0]) != len(lists[1]):
        return recorded, ours
    if not all(isinstance(entry, dict) and "name" in entry and "created_at" in entry for entry in lists[0]):
        return recorded, ours
    sorted_pair: list[list[Any]] = [[], []]
    for _, run in itertools.groupby(range(len(lists[0])), lambda number: lists[0][number]["created_at"]):
        numbers = list(run)
        for side, entries in zip(sorted_pair, lists, strict=True):
            side += sorted((entries[number] for number in numbers), key=lambda entry: str(entry.get("name")))
    return {**recorded, "data": sorted_pair[0]}, {**ours, "data": sorted_pair[1]}
