"""`https://HOST/FILE.tar#sha256=HEX`, or `https://HOST/FOLDER/#sha256=HEX` with a SHA256SUMS in it: files from a web server.

The pin is the sha256 of the archive, or of the sorted SHA256SUMS; so plain http from a mirror is as good. What was cut off
goes on where it was, by ranges. A password is read from ~/.netrc and stands in no setting.
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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from steelyard.errors import DownloadFailed, SourceWrong
from steelyard.models.refused import wanted_names

from .archive import ENDINGS, unpack
from .record import Asked, PinnedByContent, Record, keep, leaves_folder, listing_hash, place, publish, refuse, sha256_of

FORM = re.compile(r"^(?P<url>https?://[^\s#]+)(?:#sha256=(?P<sha256>[0-9a-f]{64}))?$")
LISTED = re.compile(r"^(?P<hash>[0-9a-f]{64}) [ *](?P<name>.+)$")
TRIES, PAUSE_S, SILENT_S = 5, 1.0, 60
BLOCK = 1 << 20


@dataclass(frozen=True)
class WebSource(PinnedByContent):
    """`sha256` is None until it is pinned."""

    url: str
    sha256: str | None

    @property
    def is_folder(self) -> bool:
        return self.url.endswith("/")


def parse(uri: str, where: str) -> WebSource:
    """Raises SourceWrong."""
    found = FORM.match(uri)
    path = urllib.parse.urlsplit(found["url"]).path if found else ""
    if found is None or not path.endswith(("/", *ENDINGS)) or "@" in urllib.parse.urlsplit(found["url"]).netloc:
        raise SourceWrong(where=where, source=uri)
    return WebSource(found["url"], found["sha256"])


def fetch(source: WebSource, asked: Asked) -> Record:
    """Bring it here, compare, unpack. Raises DownloadFailed, SourceRefused."""
    return _folder(source, asked) if source.is_folder else _archive(source, asked)


def _archive(source: WebSource, asked: Asked) -> Record:
    at = place(source.url)
    name = PurePosixPath(urllib.parse.urlsplit(source.url).path).name
    download(source.url, at / name, asked)
    found = sha256_of(at / name)
    if source.sha256 not in (None, found):
        (at / name).unlink()
        raise refuse(
            source.uri, asked.model, name, f"its sha256 is {found[:12]}, not {str(source.sha256)[:12]}; it was removed"
        )
    pinned = WebSource(source.url, found)
    folder = place(pinned.uri) / "files"
    shutil.rmtree(folder, ignore_errors=True)
    unpack(at / name, name, folder, asked.model, source.url)
    names, refused = wanted_names(_files(folder), asked.code, asked.pickles)
    if refused is not None:
        shutil.rmtree(folder, ignore_errors=True)
        raise refuse(source.url, asked.model, *refused)
    (at / name).unlink()
    return keep(Record(pinned.uri, str(folder), None, {each: f"sha256:{sha256_of(folder / each)}" for each in names}))


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]


def _folder(source: WebSource, asked: Asked) -> Record:
    at = place(source.url)
    (at / "SHA256SUMS").unlink(missing_ok=True)  # it is small, and may have changed
    download(source.url + "SHA256SUMS", at / "SHA256SUMS", asked)
    listed: dict[str, str] = {}
    for number, line in enumerate((at / "SHA256SUMS").read_text(errors="surrogateescape").splitlines(), start=1):
        entry = LISTED.match(line)
        if entry is None or leaves_folder(entry["name"]):
            why = f"line {number} is no `HASH  NAME` of a file below the folder: `{line[:60]}`"
            raise refuse(source.url, asked.model, "SHA256SUMS", why)
        listed[entry["name"]] = f"sha256:{entry['hash']}"
    found = listing_hash(listed)
    if source.sha256 not in (None, found):
        raise refuse(source.uri, asked.model, "SHA256SUMS", f"its sorted sha256 is {found[:12]}, not {str(source.sha256)[:12]}")
    names, refused = wanted_names(listed, asked.code, asked.pickles)
    if refused is not None:
        raise refuse(source.url, asked.model, *refused)
    for name in names:
        path = at / "files" / name
        if not (path.is_file() and f"sha256:{sha256_of(path)}" == listed[name]):
            path.unlink(missing_ok=True)
            download(source.url + urllib.parse.quote(name), path, asked)
            if f"sha256:{sha256_of(path)}" != listed[name]:
                path.unlink()
                raise refuse(source.url, asked.model, name, "its sha256 is not that of SHA256SUMS; it was removed")
    return publish(WebSource(source.url, found).uri, at / "files", {name: listed[name] for name in names})


def download(url: str, target: Path, asked: Asked) -> None:
    """A file, taken up where a try before ended. Raises DownloadFailed."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = target.with_name(target.name + ".part")
    for turn in range(TRIES):
        try:
            _continue(url, part, asked)
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


def _continue(url: str, part: Path, asked: Asked) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers=_login(url))
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=SILENT_S)
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
            asked.told(out.tell(), total)
        if total and out.tell() < total:
            raise ConnectionError("the answer ended early")


def _login(url: str) -> dict[str, str]:
    try:
        found = netrc.netrc().authenticators(urllib.parse.urlsplit(url).hostname or "")
    except (OSError, netrc.NetrcParseError):
        return {}
    if found is None:
        return {}
    word = base64.b64encode(f"{found[0]}:{found[2]}".encode()).decode()
    return {"Authorization": f"Basic {word}"}
