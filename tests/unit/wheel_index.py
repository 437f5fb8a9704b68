"""A small index of wheels on this machine: simple pages, ranges, logins, and an account of what was served."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

PIECE = 1 << 16


def wheel(
    name: str,
    version: str,
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
    padding: int = 0,
    licence: str | None = "MIT",
    members: dict[str, bytes] | None = None,
) -> tuple[str, bytes]:
    """File name and content; the same each time. `padding` are bytes that no compression makes less."""
    project = name.replace("-", "_")
    info = f"{project}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"License-Expression: {licence}"] if licence else []
    lines += [f"Requires-Dist: {each}" for each in requires]
    inside = {
        f"{project}/data.bin": random.Random(name).randbytes(padding),
        **(members or {}),
        f"{info}/METADATA": ("\n".join(lines) + "\n").encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, content in inside.items():
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), content)
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD", (1980, 1, 1, 0, 0, 0)), "")
    return f"{project}-{version}-{tag}.whl", stream.getvalue()


@dataclass
class Served:
    """What an index offers, and what it gave. `stop_after`: of a file's bytes, then it waits until `going` is set."""

    files: dict[str, bytes]
    login: str | None = None
    lies: dict[str, bytes] = field(default_factory=dict)  # content that is given instead
    bytes: dict[str, int] = field(default_factory=dict)
    stop_after: dict[str, int] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    going: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    def page(self, project: str) -> str:
        links = [
            f'<a href="/files/{quote(name)}#sha256={hashlib.sha256(content).hexdigest()}">{name}</a>'
            for name, content in self.files.items()
            if re.sub(r"[-_.]+", "-", name.split("-")[0]).lower() == project
        ]
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>" if links else ""


@contextmanager
def served(*wheels: tuple[str, bytes], login: str | None = None) -> Iterator[Served]:
    index = Served(dict(wheels), login)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = PurePosixPath(unquote(self.path))
            if index.login is not None and self.headers.get("Authorization") != f"Basic {_word(index.login)}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif path.parts[1] == "simple":
                page = index.page(path.name).encode()
                self._answer(200 if page else 404, page, "text/html")
            else:
                self._file(path.name)

        def _file(self, name: str) -> None:
            content = index.lies.get(name, index.files.get(name))
            if content is None:
                self._answer(404, b"")
                return
            asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            first, end = 0, len(content)
            if asked and not asked[1]:
                first = max(0, end - int(asked[2]))
            elif asked:
                first, end = int(asked[1]), min(end, int(asked[2]) + 1) if asked[2] else end
            if asked:
                self._answer(206, content[first:end], span=f"bytes {first}-{end - 1}/{len(content)}", name=name)
            else:
                self._answer(200, content, name=name)

        def _answer(
            self, status: int, body: bytes, kind: str = "application/octet-stream", span: str = "", name: str = ""
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Accept-Ranges", "bytes")
            if span:
                self.send_header("Content-Range", span)
            self.end_headers()
            if self.command == "HEAD":
                return
            account = index.bytes  # of the time when it was asked
            for at in range(0, len(body), PIECE):
                if name in index.stop_after and at >= index.stop_after[name]:
                    index.stopped.set()
                    index.going.wait(60)
                piece = body[at : at + PIECE]
                try:
                    self.wfile.write(piece)
                    self.wfile.flush()
                except OSError:
                    return
                account[name] = account.get(name, 0) + len(piece)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    index.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield index
    finally:
        index.going.set()
        server.shutdown()
        server.server_close()


def _word(login: str) -> str:
    return base64.b64encode(login.encode()).decode()
