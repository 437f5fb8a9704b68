"""A redirect to another host, or to http, takes no credential with it: of any source, by its real client."""

from __future__ import annotations

import hashlib
import io
import json
import ssl
import tarfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.certificate import self_signed

from steelyard.artifacts.wheel_index import Index
from steelyard.errors import DownloadFailed, SteelyardError
from steelyard.models.sources import FetchRequest, fetch, parse, web
from steelyard.models.sources.redirects import open_url

SECRETS = ("canary", "Y2FuYXJ5")
WEIGHTS = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
COMMIT = "a" * 40


class Answering(ThreadingHTTPServer):
    """Serves `files` by path, sends `moved` paths elsewhere, and keeps the headers of whoever asked."""

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.scheme, self.name = "http", name
        self.files: dict[str, bytes] = {}
        self.types: dict[str, Mapping[str, str]] = {}
        self.moved: dict[str, str] = {}
        self.code = 302  # of a redirect
        self.asked: list[tuple[str, dict[str, str]]] = []

    def url(self, path: str = "") -> str:
        return f"{self.scheme}://{self.name}:{self.server_port}{path}"

    def shown(self) -> str:
        """All headers of all requests."""
        return json.dumps(self.asked)


class _Answers(BaseHTTPRequestHandler):
    server: Answering

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        here = self.server
        here.asked.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
        path = self.path.split("?")[0]
        if path in here.moved:
            self.send_response(here.code)
            self.send_header("Location", here.moved[path])
            for key, value in here.types.get(path, {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = here.files.get(self.path, here.files.get(path))
        self.send_response(404 if body is None else 200)
        for key, value in here.types.get(path, {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body or b"")


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Answering, Answering]]:
    """The declared server, and another one under another name."""
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(web, "PAUSE_S", 0.0)
    monkeypatch.setattr(web, "TRIES", 1)
    (tmp_path / "HOME").mkdir()
    netrc = tmp_path / "HOME/.netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\n")
    netrc.chmod(0o600)
    both = Answering("127.0.0.1"), Answering("localhost")
    for server in both:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield both
    for server in both:
        server.shutdown()


def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        entry = tarfile.TarInfo("model.safetensors")
        entry.size = len(WEIGHTS)
        made.addfile(entry, io.BytesIO(WEIGHTS))
    return out.getvalue()


def nothing_shown(here: Answering, other: Answering, at_least: int = 1) -> None:
    assert any(secret in here.shown() for secret in SECRETS), "the declared server has the login, or nothing is proven"
    assert len(other.asked) >= at_least
    assert not any(secret in other.shown() for secret in SECRETS), other.shown()


def test_a_password_of_netrc_stays_with_its_host(servers: tuple[Answering, Answering]) -> None:
    here, other = servers
    here.moved["/x.tar"] = other.url("/signed/x.tar?X-Amz-Signature=1")
    other.files["/signed/x.tar"] = archive()
    record = fetch(parse(here.url("/x.tar"), "x"), FetchRequest("llm/x"))
    assert list(record.files) == ["model.safetensors"]
    nothing_shown(here, other)


def test_a_password_stays_where_the_host_is_the_same_and_the_port_is_not(servers: tuple[Answering, Answering]) -> None:
    here, other = servers
    here.moved["/x.tar"] = f"http://127.0.0.1:{other.server_port}/x.tar"
    other.files["/x.tar"] = archive()
    fetch(parse(here.url("/x.tar"), "x"), FetchRequest("llm/x"))
    nothing_shown(here, other)


def test_a_password_goes_along_on_its_own_host(servers: tuple[Answering, Answering]) -> None:
    here, _ = servers
    here.moved["/x.tar"] = "/files/x.tar"
    here.files["/files/x.tar"] = archive()
    fetch(parse(here.url("/x.tar"), "x"), FetchRequest("llm/x"))
    assert all("authorization" in headers for _, headers in here.asked)


def test_a_password_does_not_go_from_https_to_http(servers: tuple[Answering, Answering], tmp_path: Path) -> None:
    here, other = servers
    pem = tmp_path / "pem"
    pem.write_text("".join(self_signed("127.0.0.1")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    here.socket, here.scheme = context.wrap_socket(here.socket, server_side=True), "https"
    other.name, other.files["/x"] = "127.0.0.1", b"content"
    here.moved["/x"] = other.url("/x")
    trusting = ssl._create_unverified_context()
    for header in ("Authorization", "Cookie", "Proxy-Authorization"):
        request = urllib.request.Request(here.url("/x"), headers={header: "canary"})
        answer: Any = open_url(request, 5, urllib.request.HTTPSHandler(context=trusting))
        assert answer.read() == b"content"
    nothing_shown(here, other, 3)


@pytest.mark.parametrize("to", ["file:///etc/hostname", "ftp://127.0.0.1:9/x.tar"])
def test_a_redirect_leads_to_no_other_kind_of_address(servers: tuple[Answering, Answering], to: str) -> None:
    here, _ = servers
    here.moved["/x.tar"] = to
    with pytest.raises(DownloadFailed, match="HTTP 302"):
        fetch(parse(here.url("/x.tar"), "x"), FetchRequest("llm/x"))


def test_a_login_of_a_wheel_index_stays_with_its_host(servers: tuple[Answering, Answering]) -> None:
    here, other = servers
    here.moved["/x.whl"] = other.url("/x.whl")
    other.files["/x.whl"] = b"wheel"
    index = Index({}, {f"127.0.0.1:{here.server_port}": ("canary", "canary")})
    assert index.open(urllib.request.Request(here.url("/x.whl"))).read() == b"wheel"
    nothing_shown(here, other)


def hub_answers(server: Answering) -> None:
    """The routes of a Hub for one repository with one file."""
    etag = f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    head = {"ETag": etag, "X-Linked-Etag": etag, "X-Linked-Size": str(len(WEIGHTS)), "X-Repo-Commit": COMMIT}
    lfs = {"oid": hashlib.sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS), "pointerSize": 130}
    tree = [{"type": "file", "path": "model.safetensors", "size": len(WEIGHTS), "oid": "b" * 40, "lfs": lfs}]
    info = {"id": "org/name", "sha": COMMIT, "siblings": []}
    api = "/api/models/org/name"
    for path, found in ((f"{api}/revision/main", info), (f"{api}/tree/{COMMIT}", tree)):
        server.files[path] = json.dumps(found).encode()
        server.types[path] = {"Content-Type": "application/json"}
    path = f"/org/name/resolve/{COMMIT}/model.safetensors"
    server.files[path], server.types[path] = WEIGHTS, head


@pytest.mark.parametrize("moved", ["files", "everything"])
def test_a_token_of_the_hub_stays_with_its_endpoint(
    servers: tuple[Answering, Answering], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: str
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    here, other = servers
    for server in servers:
        hub_answers(server)
    for path in list(here.files):
        if moved == "everything" or "/resolve/" in path:
            here.moved[path] = other.url(path)
    asked = FetchRequest("llm/x", token="hf_canary", endpoints=(here.url(),))
    try:
        fetch(parse("hf://org/name", "x"), asked)
    except SteelyardError:  # a client may also stop there
        assert moved == "everything"
    nothing_shown(here, other)


def test_a_token_of_modelscope_stays_with_its_endpoint(
    servers: tuple[Answering, Answering], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as a header nor as the cookie that its client makes of it."""
    from modelscope_hub import config

    monkeypatch.setattr(config, "_default_config", None)  # that of an earlier test has no token
    here, other = servers
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", here.url())
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-canary")
    row = {"Path": "model.safetensors", "Name": "model.safetensors", "Size": len(WEIGHTS), "Type": "blob"}
    row |= {"Sha256": hashlib.sha256(WEIGHTS).hexdigest(), "Revision": "r"}
    listing = {"Code": 200, "Success": True, "Data": {"Files": [row]}}
    api = "/api/v1/models/org/name"
    other.files |= {f"{api}/repo/files": json.dumps(listing).encode(), f"{api}/repo": WEIGHTS}
    here.moved |= {path: other.url(path) for path in other.files}
    record = fetch(parse("modelscope://org/name", "x"), FetchRequest("llm/x"))
    assert list(record.files) == ["model.safetensors"]
    assert "cookie" in here.asked[0][1]
    nothing_shown(here, other, 2)


def test_keys_of_a_bucket_stay_with_its_endpoint(
    servers: tuple[Answering, Answering], monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore follows no redirect: whoever is named there is not asked at all."""
    import boto3

    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # that of an earlier test has other keys
    here, other = servers
    here.code = 308
    for key, value in {
        "AWS_ENDPOINT_URL": here.url(),
        "AWS_ACCESS_KEY_ID": "canary",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(key, value)
    here.moved |= {"/models": other.url("/models"), "/models/": other.url("/models/")}
    with pytest.raises(DownloadFailed):
        fetch(parse("s3://models/x", "x"), FetchRequest("llm/x"))
    nothing_shown(here, other, 0)
    assert other.asked == []
