"""A replay over real HTTP, with forms whose files have content, as the product and the web console send them."""

from __future__ import annotations

import http.client
import io
import json
import re
import zipfile
from typing import Any

from dify_recordings import Answer, Replay
from dify_world import served

from dify_double.__main__ import handler_of

FILE = re.compile(r"<(\d+) bytes: (.+)>")
VERSION = {"openai_api_compatible": "0.0.63", "openai": "0.9.1"}  # of a package whose name does not say it
KINDS = {"wav": "audio/wav", "txt": "text/plain"}
MARK = "of-a-replay"


class ReplayOverHttp(Replay):
    """Asks the double as a server."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.server, _ = served(handler_of(self.console, lambda _: None))

    def send(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        """The double's answer as it came over the line."""
        content, kind = encoded(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port)
        given = {name: value for name, value in headers.items() if name.lower() not in ("content-type", "host")}
        connection.request(method, path, content, {**given, "Content-Type": kind})
        answer = connection.getresponse()
        read, media = answer.read(), answer.getheader("Content-Type") or ""
        cookies = [value for name, value in answer.getheaders() if name == "Set-Cookie"]
        connection.close()
        if media == "audio/mpeg":
            return answer.status, cookies, read, media
        if not media.startswith("application/json"):
            return answer.status, cookies, read.decode(), media
        return answer.status, cookies, json.loads(read) if read else None, media


def encoded(body: Any) -> tuple[bytes | None, str]:
    """A body as bytes with its media type: a form where a recording names a file in it."""
    files = {name: FILE.fullmatch(value) for name, value in body.items() if isinstance(value, str)} if body else {}
    if not any(files.values()):
        return (None if body is None else json.dumps(body).encode()), "application/json"
    parts = b""
    for name, value in body.items():
        file = files.get(name)
        if file is None:
            parts += f'--{MARK}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            continue
        kind = KINDS.get(file[2].rsplit(".", 1)[-1], "application/octet-stream")
        head = f'--{MARK}\r\nContent-Disposition: form-data; name="{name}"; filename="{file[2]}"\r\n'
        parts += f"{head}Content-Type: {kind}\r\n\r\n".encode() + content_of(int(file[1]), file[2]) + b"\r\n"
    return parts + f"--{MARK}--\r\n".encode(), f"multipart/form-data; boundary={MARK}"


def content_of(size: int, name: str) -> bytes:
    """Content for a file of which only size and name were recorded: a package with a head, or nothing but its size."""
    if not name.endswith(".difypkg"):
        return bytes(size)
    stem, _, version = name.removesuffix(".difypkg").partition("-")
    with io.BytesIO() as packed:
        with zipfile.ZipFile(packed, "w") as archive:
            head = f"version: {version or VERSION[stem]}\nauthor: langgenius\nname: {stem}\ntype: plugin\n"
            archive.writestr(zipfile.ZipInfo("manifest.yaml"), head)  # at a fixed time: the same bytes each time
        return packed.getvalue()
