"""Serves the double over HTTP; state is kept in a file, or in PostgreSQL, so that a restart forgets nothing."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from . import canned_answers
from .credential_forms import PROVIDERS
from .json_object import JsonObject
from .router import Console, fresh_state
from .routes import BROKEN, Answer, EventStream, Html, content_type
from .upstream import ask, complete

Save = Callable[[JsonObject], None]


def body_of(content: bytes, kind: str) -> Any:
    """JSON, or the parts of a multipart form by name, a file as {"name", "kind", "content"}; None for what is
    neither.
    """
    mark = re.search(r"boundary=(\S+)", kind)
    if mark:
        return dict(_part(part) for part in content.split(("--" + mark[1]).encode())[1:-1])
    try:
        return json.loads(content) if content else None
    except ValueError:
        return None


def _part(part: bytes) -> tuple[str, Any]:
    """Name and value of one part of a form."""
    head, _, rest = part.partition(b"\r\n\r\n")
    said = {name.decode(): value.decode() for name, value in re.findall(rb'(\w+)="([^"]*)"', head)}
    if "filename" not in said:
        return said["name"], rest[:-2].decode()
    kind = re.search(rb"(?i)content-type: (\S+)", head)
    return said["name"], {"name": said["filename"], "kind": kind[1].decode() if kind else "", "content": rest[:-2]}


def handler_of(console: Console, save: Save) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = body_of(self.rfile.read(length), self.headers.get("Content-Type") or "")
            with lock:
                status, cookies, content = handled(console, self.command, self.path, dict(self.headers), body)
                if self.command != "GET":
                    save(console.state)
            data = b"" if status == 204 else data_of(content)
            self.send_response(status)
            for cookie in cookies:
                self.send_header("Set-Cookie", cookie)
            self.send_header("X-Version", console.release)
            self.send_header("Server-Note", "simulated Dify")
            self.send_header("Content-Type", content_type(content))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    return Handler


def handled(console: Console, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
    """Return the console's answer; what the double did not foresee is a 500 to who asks, as in the real one, and tells
    itself in the log.
    """
    try:
        return console.handle(method, path, headers, body)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        traceback.print_exc()
        return BROKEN


def data_of(content: Any) -> bytes:
    """Return a decoded body as it goes over the line."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, (Html, EventStream)):
        return content.encode()
    return json.dumps(content).encode()


def kept_in(path: Path) -> Save:
    """Saves into a file."""
    return lambda state: (path.write_text(json.dumps(state)), None)[1]


def console_of_file(given: argparse.Namespace) -> tuple[Console, Save]:
    """Return a console with its administrator and a plugin, as somebody set it up."""
    state = json.loads(given.state.read_text()) if given.state.exists() else fresh_state()
    console = Console(state, ask, complete=complete)
    if state["admin"] is None:
        admin = json.loads(given.admin_file.read_text())
        console.account.create_admin(admin["email"], "admin", admin["password"])
        console.preinstall(next(iter(PROVIDERS)))
    return console, kept_in(given.state)


def console_of_postgres(storage: Path, release: str, migrate_only: bool) -> tuple[Console, Save]:
    """Return a console as a release of the compose file brings it: fresh, until somebody sets it up."""
    from .postgres_state import PostgresStore

    store = PostgresStore(storage, release)
    if migrate_only or os.environ.get("MIGRATION_ENABLED", "true") == "true":
        store.migrate(migrate_only)
    if migrate_only:
        raise SystemExit(0)
    console = Console(
        store.load() or fresh_state(),
        ask,
        os.environ.get("INIT_PASSWORD", ""),
        complete=complete,
        release=release.split("-")[0],
        balancing=os.environ.get("MODEL_LB_ENABLED", "") == "true",
        daemon=os.environ.get("DOUBLE_DAEMON", ""),
        url=os.environ.get("CONSOLE_WEB_URL") or os.environ.get("CONSOLE_API_URL") or "",
    )
    return console, store.save


def main() -> None:
    parser = argparse.ArgumentParser(prog="dify_double")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--admin-file", type=Path)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--migrate-only", action="store_true")
    parser.add_argument("--storage", type=Path)
    given = parser.parse_args()
    os.umask(0o077)  # the state holds keys
    if given.state is not None:
        console, save = console_of_file(given)
    else:
        release = os.environ.get("DOUBLE_RELEASE", canned_answers.VERSION)
        console, save = console_of_postgres(given.storage, release, given.migrate_only)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as process 1 of a container it would not end otherwise
    print("simulated Dify on port %d" % given.port, flush=True)
    ThreadingHTTPServer(("", given.port), handler_of(console, save)).serve_forever()


if __name__ == "__main__":
    main()
