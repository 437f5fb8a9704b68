"""`models add` from S3 (moto's server, boto3's real client) and from ModelScope (a simulated server, its real
client).
"""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from steelyard.errors import DownloadFailed, SourceMissing, SourceRefused
from steelyard.models.sources import FetchRequest, fetch, parse
from steelyard.models.sources.record import source_folder
from steelyard.models.sources.resolve import read_manifest

WEIGHTS = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
ASKED = FetchRequest("llm/x")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import boto3
    from moto.server import ThreadedMotoServer

    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # boto3 keeps that of the test before
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    for key, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(key, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    yield client
    server.stop()


def big(client: Any, key: str, body: bytes) -> None:
    """As clients upload large files: in parts, so its ETag is no md5 of the whole."""
    part = 5 << 20
    upload = client.create_multipart_upload(Bucket="models", Key=key)["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(body), part), start=1):
        sent = client.upload_part(
            Bucket="models", Key=key, UploadId=upload, PartNumber=number, Body=body[start : start + part]
        )
        parts.append({"ETag": sent["ETag"], "PartNumber": number})
    client.complete_multipart_upload(Bucket="models", Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


def test_objects_below_a_prefix_are_compared_and_pinned(bucket: Any) -> None:
    body = bytes(range(256)) * 30000
    bucket.put_object(Bucket="models", Key="x/v1/config.json", Body=b"{}")
    bucket.put_object(Bucket="models", Key="x/v1/model.safetensors", Body=WEIGHTS, ChecksumAlgorithm="SHA256")
    big(bucket, "x/v1/tokenizer.model", body)
    bucket.put_object(Bucket="models", Key="x/v2/config.json", Body=b"{}")
    pinned = fetch(parse("s3://models/x/v1", "x"), ASKED).source
    assert pinned.startswith("s3://models/x/v1/#sha256=")
    manifest = read_manifest("llm/x", pinned, "x")
    assert sorted(manifest.files) == ["config.json", "model.safetensors", "tokenizer.model"]
    assert manifest.files["tokenizer.model"].sha256 == hashlib.sha256(body).hexdigest()
    # a file that rots on this machine is seen and fetched again
    (source_folder("s3://models/x/v1/") / "files/tokenizer.model").write_bytes(body[:-1] + b"x")
    assert fetch(parse("s3://models/x/v1", "x"), ASKED).source == pinned
    # and what changes in the bucket is no longer what was pinned
    bucket.put_object(Bucket="models", Key="x/v1/config.json", Body=b"[]")
    again = parse(pinned, "x")
    (source_folder(pinned) / "files/config.json").unlink()
    with pytest.raises(SourceRefused, match="the objects have changed"):
        fetch(again, ASKED)


def test_what_the_store_refuses_is_one_sentence(bucket: Any) -> None:
    for uri, why in (("s3://nobody/x", "NoSuchBucket"), ("s3://models/none", "no object has this prefix")):
        with pytest.raises(DownloadFailed, match=why) as told:
            fetch(parse(uri, "x"), ASKED)
        assert "\n" not in str(told.value)
    bucket.put_object(Bucket="models", Key="p/pytorch_model.bin", Body=b"x")
    with pytest.raises(SourceRefused, match="pickle weights"):
        fetch(parse("s3://models/p", "x"), ASKED)


def test_a_store_that_is_gone_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "canary-key",
    }.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(DownloadFailed, match="Could not connect") as told:
        fetch(parse("s3://models/x", "x"), ASKED)
    assert "canary" not in str(told.value)


class SimulatedModelScope(ThreadingHTTPServer):
    """The two routes that the client uses: a repository's list of files with their sha256, and a file."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.files = {"config.json": b"{}", "model.safetensors": WEIGHTS, "README.md": b"# x"}
        self.served: dict[str, bytes] = {}


class _Answers(BaseHTTPRequestHandler):
    server: SimulatedModelScope

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        asked = urllib.parse.parse_qs(url.query)
        files = self.server.files
        if not url.path.startswith("/api/v1/models/org/name"):
            self._say(404, json.dumps({"Code": 10010205001, "Message": "not found", "Success": False}).encode())
        elif url.path.endswith("/repo/files"):
            rows = [
                {
                    "Path": name,
                    "Name": name,
                    "Size": len(body),
                    "Type": "blob",
                    "Sha256": hashlib.sha256(body).hexdigest(),
                    "Revision": "r",
                }
                for name, body in files.items()
            ]
            self._say(200, json.dumps({"Code": 200, "Success": True, "Data": {"Files": rows}}).encode())
        else:
            name = asked["FilePath"][0]
            self._say(200, self.server.served.get(name, files[name]))

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def modelscope(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedModelScope]:
    from modelscope_hub import config

    monkeypatch.setattr(config, "_default_config", None)  # the client keeps that of the test before
    server = SimulatedModelScope()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()


def test_a_repository_of_modelscope_is_pinned_by_what_it_holds(modelscope: SimulatedModelScope) -> None:
    pinned = fetch(parse("modelscope://org/name", "x"), ASKED).source
    assert pinned.startswith("modelscope://org/name@master#sha256=")
    manifest = read_manifest("llm/x", pinned, "x")
    assert sorted(manifest.files) == sorted(modelscope.files)
    assert (manifest.origin.commit, manifest.origin.source) == ("master", pinned)  # type: ignore[union-attr]
    modelscope.files["config.json"] = b"[]"
    with pytest.raises(SourceMissing, match="not fetched on this machine"):
        read_manifest("llm/x", pinned.replace("name", "other"), "x")
    (source_folder(pinned) / "files/config.json").unlink()
    with pytest.raises(SourceRefused, match="`master` has other files now"):
        fetch(parse(pinned, "x"), ASKED)


def test_what_modelscope_serves_and_did_not_list_is_refused(modelscope: SimulatedModelScope) -> None:
    modelscope.served["config.json"] = b"[]"
    with pytest.raises((SourceRefused, DownloadFailed)):
        fetch(parse("modelscope://org/name@v1", "x"), ASKED)
    with pytest.raises(DownloadFailed) as told:
        fetch(parse("modelscope://org/none", "x"), ASKED)
    assert "\n" not in str(told.value)
