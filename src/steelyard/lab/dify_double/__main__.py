"""Serves the double over HTTP; state is kept in a file, so that a restart forgets nothing."""

from __future__ import annotations

import argparse
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .console import Console, fresh_state
from .endpoint import ask
from .forms import PROVIDERS


def handler_of(console: Console, kept: Path) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length)
            try:
                body: Any = json.loads(text) if text else None
            except ValueError:
                body = None
            with lock:
                status, cookies, content = console.handle(self.command, self.path, dict(self.headers), body)
                if self.command != "GET":
                    kept.write_text(json.dumps(console.state))
            data = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            for cookie in cookies:
                self.send_header("Set-Cookie", cookie)
            self.send_header("Server-Note", "simulated Dify")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser(prog="dify_double")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--admin-file", type=Path, required=True)
    given = parser.parse_args()
    os.umask(0o077)  # the state holds keys
    state = json.loads(given.state.read_text()) if given.state.exists() else fresh_state()
    console = Console(state, ask)
    if state["admin"] is None:
        admin = json.loads(given.admin_file.read_text())
        console.account.create_admin(admin["email"], "admin", admin["password"])
        console.preinstall(next(iter(PROVIDERS)))
    print("simulated Dify on port %d" % given.port, flush=True)
    ThreadingHTTPServer(("", given.port), handler_of(console, given.state)).serve_forever()


if __name__ == "__main__":
    main()
