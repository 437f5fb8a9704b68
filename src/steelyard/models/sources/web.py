"""Files from a web server: `https://HOST/FILE.tar#sha256=HEX`, or `https://HOST/FOLDER/#sha256=HEX` with a SHA256SUMS.

The pin is the sha256 of the archive, or of the sorted SHA256SUMS; so plain http from a mirror is as good. What was cut
off goes on where it was, by ranges. A password is read from ~/.netrc and stands in no setting.
"""

from __future__ import annotations

import base64
import http.client
import netrc
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from steelyard.errors import DownloadFailed, SourceWrong
from steelyard.models.content.file_policy import allowed_files, leaves_folder, refuse

from .archive import ENDINGS, unpack
from .record import FetchRequest, PinnedByContent, Record, listing_hash, publish, sha256_of, source_folder, write_record
from .redirects import open_url

FORM = re.compile(r"^(?P<url>https?://[^\s#]+)(?:#sha256=(?P<sha256>[0-9a-f]{64}))?$")
LISTED = re.compile(r"^(?P<hash>[0-9a-f]{64}) [ *](?P<name>.+)$")
TRIES, PAUSE_S, SILENT_S = 5, 1.0, 60
BLOCK = 1 << 20


@dataclass(frozen=True)
class WebSource(PinnedByContent):
    """An archive, or a folder with a SHA256SUMS, of a web server."""

    url: str
    sha256: str | None

    @property
    def is_folder(self) -> bool:
        """True for a folder with a SHA256SUMS, false for an archive."""
        return self.url.endswith("/")


def parse(uri: str, where: str) -> WebSource:
    """The source that an address names. Raises SourceWrong."""
    parts = FORM.match(uri)
    path = urllib.parse.urlsplit(parts["url"]).path if parts else ""
    if parts is None or not path.endswith(("/", *ENDINGS)) or "@" in urllib.parse.urlsplit(parts["url"]).netloc:
        raise SourceWrong(where=where, source=uri)
    return WebSource(parts["url"], parts["sha256"])


def fetch(source: WebSource, asked: FetchRequest) -> Record:
    """Bring it here, compare, unpack. Raises DownloadFailed, SourceRefused."""
    return _folder(source, asked) if source.is_folder else _archive(source, asked)


def _archive(source: WebSource, asked: FetchRequest) -> Record:
    at = source_folder(source.url)
    name = PurePosixPath(urllib.parse.urlsplit(source.url).path).name
    download(source.url, at / name, asked.on_progress)
    sha256 = sha256_of(at / name)
    if source.sha256 not in (None, sha256):
        (at / name).unlink()
        raise refuse(
            source.uri, asked.model, name, f"its sha256 is {sha256[:12]}, not {str(source.sha256)[:12]}; it was removed"
        )
    pinned = WebSource(source.url, sha256)
    folder = source_folder(pinned.uri) / "files"
    shutil.rmtree(folder, ignore_errors=True)
    unpack(at / name, name, folder, asked.model, source.url)
    names, refused = allowed_files(_files(folder), asked.code, asked.pickles)
    if refused is not None:
        shutil.rmtree(folder, ignore_errors=True)
        raise refuse(source.url, asked.model, *refused)
    (at / name).unlink()
    return write_record(
        Record(pinned.uri, str(folder), None, {entry: f"sha256:{sha256_of(folder / entry)}" for entry in names})
    )


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]


def _folder(source: WebSource, asked: FetchRequest) -> Record:
    at = source_folder(source.url)
    (at / "SHA256SUMS").unlink(missing_ok=True)  # it is small, and may have changed
    download(source.url + "SHA256SUMS", at / "SHA256SUMS", asked.on_progress)
    listed: dict[str, str] = {}
    for number, line in enumerate((at / "SHA256SUMS").read_text(errors="surrogateescape").splitlines(), start=1):
        entry = LISTED.match(line)
        if entry is None or leaves_folder(entry["name"]):
            why = f"line {number} is no `HASH  NAME` of a file below the folder: `{line[:60]}`"
            raise refuse(source.url, asked.model, "SHA256SUMS", why)
        listed[entry["name"]] = f"sha256:{entry['hash']}"
    listing = listing_hash(listed)
    why = f"its sorted sha256 is {listing[:12]}, not {str(source.sha256)[:12]}"
    source.hold_to_pin(listing, asked.model, "SHA256SUMS", why)
    names, refused = allowed_files(listed, asked.code, asked.pickles)
    if refused is not None:
        raise refuse(source.url, asked.model, *refused)
    for name in names:
        path = at / "files" / name
        if not (path.is_file() and f"sha256:{sha256_of(path)}" == listed[name]):
            path.unlink(missing_ok=True)
            download(source.url + urllib.parse.quote(name), path, asked.on_progress)
            if f"sha256:{sha256_of(path)}" != listed[name]:
                path.unlink()
                raise refuse(source.url, asked.model, name, "its sha256 is not that of SHA256SUMS; it was removed")
    return publish(WebSource(source.url, listing).uri, at / "files", {name: listed[name] for name in names})


def _answer(request: urllib.request.Request) -> Any:
    for name, value in _login(request.full_url).items():
        request.add_header(name, value)
    return open_url(request, SILENT_S)


def download(
    url: str,
    target: Path,
    on_progress: Callable[[int, int], None],
    answer: Callable[[urllib.request.Request], Any] = _answer,
) -> None:
    """A file, taken up where a try before ended; `on_progress` of bytes and their total. Raises DownloadFailed."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = target.with_name(target.name + ".part")
    for turn in range(TRIES):
        try:
            _continue(url, part, on_progress, answer)
            part.rename(target)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise DownloadFailed(where=url, why=f"HTTP {error.code} {error.reason}") from error
            why = f"HTTP {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise DownloadFailed(where=url, why=f"{error.strerror}: {error.filename}") from error
            why = str(getattr(error, "reason", error)) or type(error).__name__
        if turn < TRIES - 1:
            time.sleep(PAUSE_S * 2**turn)
    raise DownloadFailed(where=url, why=f"{why}, {TRIES} times; what came is kept for the next try")


def _continue(
    url: str, part: Path, on_progress: Callable[[int, int], None], ask: Callable[[urllib.request.Request], Any]
) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = ask(request)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have and error.headers.get("Content-Range", "") == f"bytes */{have}":
            return  # it was whole, and only its new name was missing
        if error.code == 416:
            part.unlink()  # it has become shorter there
            raise ConnectionError("the file has become shorter there") from error
        raise
    with answer, part.open("ab" if answer.status == 206 else "wb") as out:
        total = out.tell() + int(answer.headers.get("Content-Length") or 0)
        while data := answer.read(BLOCK):
            out.write(data)
            on_progress(out.tell(), total)
        if total and out.tell() < total:
            raise ConnectionError("the answer ended early")


def _login(url: str) -> dict[str, str]:
    try:
        login = netrc.netrc().authenticators(urllib.parse.urlsplit(url).hostname or "")
    except (OSError, netrc.NetrcParseError):
        return {}
    if login is None:
        return {}
    credentials = base64.b64encode(f"{login[0]}:{login[2]}".encode()).decode()
    return {"Authorization": f"Basic {credentials}"}
