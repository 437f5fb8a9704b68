"""A wheel's METADATA and licence before the wheel is downloaded: read out of the archive over the network, by ranges.

An index may or may not serve METADATA beside a wheel; the archive always has it, and its directory lies at the end. So
one request for the last bytes is mostly all. What was read once is kept under the wheel's sha256, which names it for
ever.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from steelyard.dirs import cache_folder, write_private

from .wheel_index import Index
from .wheel_resolution import Wheel

AT_ONCE = 8
TAIL = 1 << 16
LONGEST = 60  # of a licence that is a text and not a name


class RemoteFile(io.RawIOBase):
    """Bytes of a file of known size behind an address; ranges of at least `TAIL`. Raises OSError where ranges are not
    served.
    """

    def __init__(self, url: str, size: int, index: Index) -> None:
        self._url, self._size, self._index = url, size, index
        self._at, self._from, self._bytes = 0, 0, b""

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self._size)[whence] + offset
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        if self._at >= self._size:
            return 0
        if not self._from <= self._at < self._from + len(self._bytes):
            first = max(0, min(self._at, self._size - TAIL))
            self._bytes, self._from = (
                self._fetch(first, min(self._size, max(self._at + len(buffer), first + TAIL))),
                first,
            )
        piece = self._bytes[self._at - self._from :][: len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _fetch(self, first: int, end: int) -> bytes:
        with self._index.open(
            urllib.request.Request(self._url, headers={"Range": f"bytes={first}-{end - 1}"})
        ) as answer:
            if answer.status != 206:
                raise OSError("the index serves no ranges")
            content = bytes(answer.read(end - first))
        if len(content) != end - first:
            raise OSError("the answer ended early")
        return content


# what reading a wheel may raise: no zip, a member that does not unpack, one that is encrypted or packed in an unknown
# way, none
UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, KeyError)


def metadata_in(archive: zipfile.ZipFile) -> str:
    """The text of the one METADATA. Raises UNREADABLE."""
    for name in archive.namelist():
        if name.endswith(".dist-info/METADATA") and name.count("/") == 1:
            return archive.read(name).decode(errors="replace")
    raise KeyError("METADATA")


def fetch_metadata(wheel: Wheel, index: Index) -> str | None:
    """The METADATA of a wheel from the cache, a file here, or the index.

    None where the index serves no ranges or does not answer.
    """
    cached = cache_folder() / "wheel-metadata" / f"{wheel.sha256}.txt"
    with contextlib.suppress(OSError):
        return cached.read_text()
    try:
        if wheel.url.startswith("file:"):
            path = urllib.request.url2pathname(urllib.parse.urlsplit(wheel.url).path)
            with zipfile.ZipFile(path) as archive:
                return metadata_in(archive)
        if not wheel.url or not wheel.size:
            return None
        remote = RemoteFile(wheel.url, wheel.size, index)
        with zipfile.ZipFile(io.BufferedReader(remote, TAIL)) as archive:  # type: ignore[type-var]
            text = metadata_in(archive)
    except (*UNREADABLE, http.client.HTTPException):
        return None
    with contextlib.suppress(OSError):
        write_private(cached, text.encode())
    return text


def fetch_all(wheels: Iterable[Wheel], index: Index) -> dict[str, str | None]:
    """METADATA by file name; a few requests at once."""
    listed = list(wheels)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        texts = pool.map(lambda wheel: fetch_metadata(wheel, index), listed)
        return {wheel.file: text for wheel, text in zip(listed, texts, strict=True)}


def with_sizes(wheels: Iterable[Wheel], index: Index) -> tuple[Wheel, ...]:
    """Sizes that the index's pages did not tell, as its files have them; plain pages tell none. What is not answered
    stays None.
    """
    listed = list(wheels)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sizes = list(pool.map(lambda wheel: wheel.size if wheel.size is not None else _size(wheel, index), listed))
    return tuple(replace(wheel, size=size) for wheel, size in zip(listed, sizes, strict=True))


def _size(wheel: Wheel, index: Index) -> int | None:
    try:
        with index.open(urllib.request.Request(wheel.url, method="HEAD")) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, http.client.HTTPException, KeyError, TypeError, ValueError):
        return None


def with_licences(wheels: Iterable[Wheel], texts: dict[str, str | None]) -> tuple[Wheel, ...]:
    """The wheels with the licence that each METADATA names, read several at once."""
    return tuple(replace(wheel, licence=licence_of(texts.get(wheel.file))) for wheel in wheels)


def licence_of(text: str | None) -> str | None:
    """The licence as SPDX names it where the project says that, else its classifier, else the first line of what it
    wrote; None: nothing.
    """
    if text is None:
        return None
    message = HeaderParser().parsestr(text)
    if message.get("License-Expression"):
        return str(message["License-Expression"])
    classified = [
        line.rsplit("::", 1)[1].strip()
        for line in message.get_all("Classifier") or []
        if line.startswith("License ::") and line.count("::") > 1
    ]
    if classified:
        return " AND ".join(dict.fromkeys(classified))
    lines = [line.strip() for line in str(message.get("License") or "").splitlines() if line.strip()]
    return lines[0][:LONGEST] if lines and lines[0] != "UNKNOWN" else None


def headers_of(text: str) -> Message:
    """The headers of a METADATA text."""
    return HeaderParser().parsestr(text)


def requirements_in(text: str) -> list[Requirement]:
    """The requirements of a METADATA text; a line that is no requirement is left out."""
    requirements = []
    for line in headers_of(text).get_all("Requires-Dist") or []:
        with contextlib.suppress(InvalidRequirement):
            requirements.append(Requirement(line))
    return requirements


def metadata_of(path: Path) -> str | None:
    """The METADATA of a wheel on this machine; None where it is no wheel."""
    try:
        with zipfile.ZipFile(path) as archive:
            return metadata_in(archive)
    except UNREADABLE:
        return None
