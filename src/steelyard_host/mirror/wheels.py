"""An index over a folder of wheels for any static web server: PEP 503 pages with hashes, and a hash lock.

`FOLDER/files/*.whl` in; `FOLDER/simple/`, `FOLDER/requirements.lock` and `FOLDER/.indexed.json` out. The last holds
size and mtime of what was hashed, so that looking again costs no reading.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from steelyard_host.system import json_file, vanishing
from steelyard_host.system.digest import sha256_file

if TYPE_CHECKING:
    from steelyard_host.wire.store import WheelsState

LOCK = "requirements.lock"
RECORD = ".indexed.json"


def normalised(name: str) -> str:
    """The name as an index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_lines(hashes: dict[str, str]) -> list[str]:
    """`name==version --hash=sha256:...` for each wheel file name, sorted: what `pip install --require-hashes` reads."""
    lines = []
    for file_name, digest in sorted(hashes.items()):
        name, version = file_name.split("-")[:2]
        lines.append("%s==%s --hash=sha256:%s" % (normalised(name), version, digest))
    return lines


def index_pages(hashes: dict[str, str]) -> dict[str, str]:
    """Relative path to text of the pages, over files in `../../files/`; `+` is quoted in links."""
    by_project: dict[str, list[str]] = {}
    for file_name, digest in sorted(hashes.items()):
        quoted = urllib.parse.quote(file_name)
        link = '<a href="../../files/%s#sha256=%s">%s</a><br>' % (quoted, digest, html.escape(file_name))
        by_project.setdefault(normalised(file_name.split("-")[0]), []).append(link)
    pages = {"%s/index.html" % name: _page(links) for name, links in by_project.items()}
    pages["index.html"] = _page('<a href="%s/">%s</a><br>' % (name, name) for name in sorted(by_project))
    return pages


def _page(links: Iterable[str]) -> str:
    head = '<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.0"></head><body>'
    return head + "".join(links) + "</body></html>\n"


def found(folder: Path) -> dict[str, list[int]]:
    """Wheel file names with size and mtime in ns."""
    wheels = vanishing.stats(sorted((folder / "files").glob("*.whl")))
    return {path.name: [status.st_size, status.st_mtime_ns] for path, status in wheels}


class IndexRecord(NamedTuple):
    """The files that the index was made of, by name: size and mtime in ns, and sha256."""

    files: dict[str, list[int]]
    hashes: dict[str, str]


def record(folder: Path) -> IndexRecord:
    """The record of the index; an empty one where there is none."""
    try:
        known = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        known = None
    if not isinstance(known, dict):
        known = {}
    return IndexRecord(known.get("files", {}), known.get("hashes", {}))


def state(folder: Path) -> WheelsState:
    """The number of wheels, and whether the index is of exactly these."""
    from steelyard_host.wire.store import WheelsState  # not where a push runs this module alone

    files = found(folder)
    pages = (folder / "simple" / "index.html").exists() and (folder / LOCK).exists()
    return WheelsState(len(files), pages and record(folder).files == files)


def index(folder: Path) -> None:
    """Write index, lock and record; the pages are made beside and put in place by rename."""
    now, known = found(folder), record(folder)
    hashes = {
        name: known.hashes[name]
        if known.files.get(name) == stat and name in known.hashes
        else sha256_file(folder / "files" / name)
        for name, stat in now.items()
    }
    made = folder / ".simple.new"
    shutil.rmtree(made, ignore_errors=True)
    for name, text in index_pages(hashes).items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    shutil.rmtree(folder / "simple", ignore_errors=True)
    made.rename(folder / "simple")
    for name, text in (
        (LOCK, "\n".join(lock_lines(hashes)) + "\n"),
        (RECORD, json.dumps({"files": now, "hashes": hashes})),
    ):
        json_file.write_atomically(folder / name, text)
