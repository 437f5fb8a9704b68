"""`models add` from a web server: pinned by hash, taken up where it was cut, and archives that try tricks."""

from __future__ import annotations

import functools
import hashlib
import io
import re
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from steelyard.errors import DownloadFailed, SourceAltered, SourceRefused, SourceWrong
from steelyard.models.sources import FetchRequest, fetch, parse, web
from steelyard.models.sources.resolve import read_manifest

WEIGHTS = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}
ASKED = FetchRequest("llm/x")


class Web(ThreadingHTTPServer):
    """Serves `files` with ranges; `cut` are paths whose first answer ends half-way, `failing` an HTTP status for
    everything.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.failing = 0
        self.sent = 0
        self.logins: list[str | None] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _Answers(BaseHTTPRequestHandler):
    server: Web

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        web, path = self.server, self.path.removeprefix("/")
        web.logins.append(self.headers.get("Authorization"))
        content = web.files.get(path)
        if web.failing or content is None:
            self.send_error(web.failing or 404)
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        if start >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        body = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if path in web.cut:
            web.cut.discard(path)
            body = body[: len(body) // 2]
        web.sent += len(body)  # before whoever asked can look
        self.wfile.write(body)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(web, "PAUSE_S", 0.0)
    made = Web()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()


def tar(files: dict[str, bytes], *more: Callable[[tarfile.TarFile], None], top: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(top + name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for each in more:
            each(archive)
    return out.getvalue()


def special(archive: tarfile.TarFile, name: str, kind: bytes, to: str = "") -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, to
    archive.addfile(entry)


def add(server: Web, path: str, pin: str = "") -> str:
    return fetch(parse(server.url(path) + pin, "--source"), ASKED).source


def test_an_archive_is_pinned_by_its_hash_and_its_one_top_folder_is_left_out(server: Web) -> None:
    server.files["x.tar.gz"] = tar(FILES, top="x-v1/")
    pinned = add(server, "x.tar.gz")
    assert pinned == server.url("x.tar.gz") + "#sha256=" + hashlib.sha256(server.files["x.tar.gz"]).hexdigest()
    manifest = read_manifest("llm/x", pinned, "x")
    assert {name: file.sha256 for name, file in manifest.files.items()} == {
        name: hashlib.sha256(body).hexdigest() for name, body in FILES.items()
    }
    sent = server.sent
    assert add(server, pinned.removeprefix(server.url(""))) == pinned
    assert server.sent == sent, "what is here is not fetched again"


def test_a_zip_archive_works_too(server: Web) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    server.files["x.zip"] = out.getvalue()
    assert sorted(read_manifest("llm/x", add(server, "x.zip"), "x").files) == sorted(FILES)


def test_an_archive_that_is_cut_off_goes_on_where_it_was(server: Web) -> None:
    server.files["x.tar"] = tar({"config.json": bytes(range(256)) * 4000})
    server.cut = {"x.tar"}
    add(server, "x.tar")
    assert server.sent == len(server.files["x.tar"])


def test_a_folder_with_sums_is_held_against_them_and_fetched_once(server: Web) -> None:
    lines = [f"{hashlib.sha256(body).hexdigest()}  {name}" for name, body in FILES.items()]
    server.files = {**{f"x/{name}": body for name, body in FILES.items()}, "x/SHA256SUMS": "\n".join(lines).encode()}
    pinned = add(server, "x/")
    assert sorted(read_manifest("llm/x", pinned, "x").files) == sorted(FILES)
    server.files["x/model.safetensors"] = b"other"
    assert add(server, "x/", "#" + pinned.split("#")[1]) == pinned
    server.files["x/config.json"] = b"[]"
    with pytest.raises(SourceRefused, match="its sha256 is not that of SHA256SUMS; it was removed"):
        (Path(web.source_folder(server.url("x/"))) / "files/config.json").unlink()
        web.fetch(web.parse(server.url("x/"), "x"), ASKED)
    assert not (Path(web.source_folder(server.url("x/"))) / "files/config.json").exists()


def publish(server: Web, files: dict[str, bytes]) -> None:
    """A folder with its sums, as a publisher writes over it."""
    lines = [f"{hashlib.sha256(body).hexdigest()}  {name}" for name, body in files.items()]
    server.files = {**{f"x/{name}": body for name, body in files.items()}, "x/SHA256SUMS": "\n".join(lines).encode()}


def test_a_later_version_at_the_same_address_leaves_the_one_before_as_it_is(server: Web) -> None:
    publish(server, FILES)
    first = add(server, "x/")
    before = read_manifest("llm/x", first, "x").id
    publish(server, {**FILES, "config.json": b"[]"})
    sent = server.sent
    second = add(server, "x/")
    assert server.sent - sent == len(server.files["x/SHA256SUMS"]) + 2, "only what differs is fetched"
    assert read_manifest("llm/x", first, "x").id == before
    assert read_manifest("llm/x", second, "x").files["config.json"].sha256 == hashlib.sha256(b"[]").hexdigest()


def test_a_version_that_is_half_fetched_leaves_the_one_before_as_it_is(server: Web) -> None:
    publish(server, FILES)
    first = add(server, "x/")
    before = read_manifest("llm/x", first, "x").id
    publish(server, {"config.json": b"[]", "model.safetensors": WEIGHTS + b" "})
    del server.files["x/model.safetensors"]
    with pytest.raises(DownloadFailed):
        add(server, "x/")
    assert read_manifest("llm/x", first, "x").id == before


@pytest.mark.parametrize("archive", [True, False])
def test_what_was_altered_on_this_machine_is_not_used_and_can_be_fetched_anew(server: Web, archive: bool) -> None:
    publish(server, FILES)
    server.files["x.tar"] = tar(FILES)
    pinned = add(server, "x.tar" if archive else "x/")
    before = read_manifest("llm/x", pinned, "x").id
    (web.source_folder(pinned) / "files/config.json").write_bytes(b"{ }")
    with pytest.raises(SourceAltered, match=r"file `config.json` in .* is no longer what was fetched from http"):
        read_manifest("llm/x", pinned, "x")
    assert add(server, pinned.removeprefix(server.url(""))) == pinned
    assert read_manifest("llm/x", pinned, "x").id == before


@pytest.mark.parametrize("line", ["nonsense", "0" * 64 + "  ../x", "0" * 64 + "  /etc/passwd"])
def test_sums_that_name_nothing_or_leave_the_folder_are_refused(server: Web, line: str) -> None:
    server.files["x/SHA256SUMS"] = line.encode()
    with pytest.raises(SourceRefused, match="line 1 is no"):
        add(server, "x/")


def test_an_archive_with_another_hash_is_removed(server: Web) -> None:
    server.files["x.tar"] = tar(FILES)
    with pytest.raises(SourceRefused, match="not 000000000000; it was removed"):
        add(server, "x.tar", "#sha256=" + "0" * 64)
    assert not list(web.source_folder(server.url("x.tar")).glob("x.tar*"))


LONG = "a" * 40
TRICKS = {
    "a symbolic link": (
        functools.partial(special, name="model.safetensors", kind=tarfile.SYMTYPE, to="/etc/shadow"),
        "a link to `/etc/shadow`",
    ),
    "a hard link": (functools.partial(special, name="x", kind=tarfile.LNKTYPE, to="/etc/shadow"), "a link"),
    "a link that is then written through": (
        functools.partial(special, name="dir", kind=tarfile.SYMTYPE, to="/tmp"),
        "a link to `/tmp`",
    ),
    "a device": (functools.partial(special, name="null", kind=tarfile.CHRTYPE), "neither a file nor a folder"),
    "a pipe": (functools.partial(special, name="pipe", kind=tarfile.FIFOTYPE), "neither a file nor a folder"),
    "a name that climbs": (
        functools.partial(special, name="a/../../x", kind=tarfile.REGTYPE),
        "leaves the folder",
    ),
    "an absolute name": (
        functools.partial(special, name="/etc/cron.d/x", kind=tarfile.REGTYPE),
        "leaves the folder",
    ),
    "a backslash": (functools.partial(special, name="..\\x", kind=tarfile.REGTYPE), "leaves the folder"),
    "case only": (functools.partial(special, name="Config.json", kind=tarfile.REGTYPE), "differs from it by case only"),
    "twice": (functools.partial(special, name="config.json", kind=tarfile.REGTYPE), "the archive has it twice"),
    "not UTF-8": (functools.partial(special, name="\udcff", kind=tarfile.REGTYPE), "its name is not UTF-8"),
    "a newline": (functools.partial(special, name="a\nb", kind=tarfile.REGTYPE), "cannot be printed"),
    "a pickle": (functools.partial(special, name="y.ckpt", kind=tarfile.REGTYPE), None),
    "code": (functools.partial(special, name="modeling.py", kind=tarfile.REGTYPE), "code, which an engine may run"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_of_an_archive_are_named_and_nothing_of_it_is_left(server: Web, trick: str) -> None:
    harm, why = TRICKS[trick]
    server.files["x.tar"] = tar(FILES, harm)
    if why is None:  # left out, as everywhere beside safetensors
        assert sorted(read_manifest("llm/x", add(server, "x.tar"), "x").files) == sorted(FILES)
        return
    with pytest.raises(SourceRefused, match=re.escape(why)) as told:
        add(server, "x.tar")
    assert "\n" not in str(told.value)
    written = [path for path in web.source_folder("x").parent.rglob("*") if path.is_file() or path.is_symlink()]
    assert [path.name for path in written if path.name not in ("x.tar",)] == []


def test_an_archive_that_is_broken_or_unpacks_to_more_than_there_is_room_for(
    server: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["x.tar"] = tar(FILES)[:-40]
    with pytest.raises(SourceRefused, match="the archive cannot be read"):
        add(server, "x.tar")
    server.files["y.tar"] = tar({"config.json": bytes(10_000)})
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 9_999})())
    with pytest.raises(SourceRefused, match="unpacks to 10000 bytes, and 9999 are free"):
        add(server, "y.tar")


def test_a_zip_that_holds_a_link_is_refused(server: Web) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("model.safetensors")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/shadow")
    server.files["x.zip"] = out.getvalue()
    with pytest.raises(SourceRefused, match="a link or a device"):
        add(server, "x.zip")


def test_a_server_that_refuses_fails_or_is_gone_is_one_sentence(server: Web) -> None:
    with pytest.raises(DownloadFailed, match="HTTP 404"):
        add(server, "none.tar")
    server.failing = 503
    with pytest.raises(DownloadFailed, match=r"HTTP 503 .*, 5 times; what came is kept"):
        add(server, "x.tar")
    with pytest.raises(DownloadFailed, match="refused"):
        fetch(parse("http://127.0.0.1:9/x.tar", "x"), ASKED)


def test_a_password_comes_from_netrc_and_from_no_address(server: Web, tmp_path: Path) -> None:
    home = tmp_path / "HOME"
    home.mkdir()
    (home / ".netrc").write_text("machine 127.0.0.1 login me password canary\n")
    (home / ".netrc").chmod(0o600)
    server.files["x.tar"] = tar(FILES)
    add(server, "x.tar")
    assert server.logins[-1] == "Basic bWU6Y2FuYXJ5"
    for uri in ("https://me:canary@host/x.tar", "https://host/model.bin", "https://host", "ftp://host/x.tar", "x.tar"):
        with pytest.raises(SourceWrong):
            parse(uri, "x")
