"""A server before the double, for the tests of checks: it notes what is asked, and can hold an answer back.

It refuses what the real Dify refuses (a name that is taken, an eleventh key), whether the double does or not, and it
has a clock of its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from fnmatch import fnmatch
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any
from urllib.parse import urlsplit

MOST_KEYS = 10
KEYS = "/console/api/datasets/api-keys"
ANSWERED_BY = {"/console/api/apps": "/console/api/apps", "/v1/datasets": "/console/api/datasets"}


@dataclass
class Front:
    """What was asked, and what was made by it. `held`: pattern of `METHOD PATH` to the event that lets an answer go."""

    url: str = ""
    ahead_s: float = 0.0
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    made: dict[str, dict[str, Any]] = field(default_factory=dict)  # path of the console's API to what was asked for
    keys: set[str] = field(default_factory=set)
    held: dict[str, threading.Event] = field(default_factory=dict)
    came: threading.Event = field(default_factory=threading.Event)

    def bodies(self, path_end: str) -> list[Any]:
        """The bodies of every POST to such a path."""
        return [body for method, path, body in self.asked if method == "POST" and path.endswith(path_end)]

    def refusal(self, method: str, path: str, body: Any) -> tuple[int, Any] | None:
        """The real Dify's answer to what it does not take."""
        if (method, path) == ("POST", KEYS) and len(self.keys) >= MOST_KEYS:
            words = "Cannot create more than 10 API keys for this resource type."
            return 400, {"custom": "max_keys_exceeded", "message": words}
        if (method, path) == ("POST", "/v1/datasets"):
            names = [made["name"] for at, made in self.made.items() if "/datasets/" in at]
            if len(body["name"]) > 40 or body["name"] in names:
                words = "The dataset name already exists. Please modify your dataset name."
                return 409, {"code": "dataset_name_duplicate", "message": words, "status": 409}
        return None

    def note(self, method: str, path: str, body: Any, status: int, answer: Any) -> None:
        """Note what an answer made or removed, and put descriptions into lists, where the double leaves them out."""
        if method == "POST" and path in ANSWERED_BY and status < 300:
            self.made[f"{ANSWERED_BY[path]}/{answer['id']}"] = body
        if (method, path) == ("POST", KEYS):
            self.keys.add(answer["id"])
        if method == "DELETE" and status < 300:
            self.made.pop(path, None)
            self.keys.discard(path.rpartition("/")[2])
        if method == "GET" and path in ANSWERED_BY.values():
            for entry in answer["data"]:
                entry["description"] = self.made.get(f"{path}/{entry['id']}", {}).get("description", "")


@contextmanager
def a_front(url: str) -> Iterator[Front]:
    """A front of the double at `url`."""
    front = Front()
    target = urlsplit(url)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.split("?")[0]
            is_json = content and self.headers.get("Content-Type") == "application/json"
            body = json.loads(content) if is_json else None
            front.asked.append((self.command, path, body))
            refused = front.refusal(self.command, path, body)
            if refused is not None:
                self.say(refused[0], [], json.dumps(refused[1]).encode())
                return
            connection = HTTPConnection(target.hostname or "", target.port)
            connection.request(self.command, self.path, content, dict(self.headers))
            behind = connection.getresponse()
            text, decoded = behind.read(), None
            if behind.getheader("Content-Type", "").startswith("application/json") and text:
                decoded = json.loads(text)
            front.note(self.command, path, body, behind.status, decoded)
            hold = next((event for at, event in front.held.items() if fnmatch(f"{self.command} {path}", at)), None)
            if hold is not None:
                front.came.set()
                hold.wait(20)
            headers = [(name, value) for name, value in behind.getheaders() if name in ("Set-Cookie", "X-Version")]
            if decoded is None:
                headers.append(("Content-Type", behind.getheader("Content-Type", "")))
            self.say(behind.status, headers, json.dumps(decoded).encode() if decoded is not None else text)

        def say(self, status: int, headers: list[tuple[str, str]], text: bytes) -> None:
            try:
                self.send_response_only(status)
                self.send_header("Date", formatdate(time() + front.ahead_s, usegmt=True))
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                pass  # whoever asked was killed

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    front.url = f"http://127.0.0.1:{server.server_port}"
    yield front
    for event in front.held.values():
        event.set()
    server.shutdown()
    server.server_close()
