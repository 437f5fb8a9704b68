"""Objects below a prefix of a bucket, `s3://BUCKET/PREFIX#sha256=HEX`, by boto3.

Endpoint and keys come from boto3's own variables and files. The pin is the sha256 over the sorted hashes and names of
all objects. Objects are held against what the store itself knows: their sha256 checksum where they were uploaded with
one, else their ETag, that of a multipart upload too.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.errors import DownloadFailed, LibraryMissing
from steelyard.models.content.file_policy import allowed_files, refuse

from .record import FetchRequest, PinnedByContent, Record, listing_hash, parsed, publish, sha256_of, source_folder

FORM = re.compile(
    r"^s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<prefix>[^\s#]*)(?:#sha256=(?P<sha256>[0-9a-f]{64}))?$"
)


@dataclass(frozen=True)
class S3Source(PinnedByContent):
    """Objects of a bucket below a prefix, which ends with a slash, or is empty."""

    bucket: str
    prefix: str
    sha256: str | None

    @property
    def url(self) -> str:
        """The address without its pin."""
        return f"s3://{self.bucket}/{self.prefix}"


def parse(uri: str, where: str) -> S3Source:
    """The source that an address names. Raises SourceWrong."""
    parts = parsed(FORM, uri, where)
    prefix = parts["prefix"].strip("/")
    return S3Source(parts["bucket"], f"{prefix}/" if prefix else "", parts["sha256"])


def fetch(source: S3Source, asked: FetchRequest) -> Record:
    """Bring the objects here; those that are here and whole are not fetched again. Raises DownloadFailed,
    SourceRefused.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise LibraryMissing(where=source.uri, library="boto3", extra="s3") from error
    try:
        client = boto3.client("s3", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))
        return _fetch(client, source, asked)
    except ClientError as error:
        answer = error.response.get("Error", {})
        raise DownloadFailed(where=source.uri, why=f"{answer.get('Code')}: {answer.get('Message')}") from error
    except BotoCoreError as error:
        raise DownloadFailed(where=source.uri, why=str(error).rstrip(".")) from error
    except OSError as error:
        raise DownloadFailed(where=source.uri, why=f"{error.strerror}: {error.filename}") from error


def _fetch(client: Any, source: S3Source, asked: FetchRequest) -> Record:
    objects = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=source.bucket, Prefix=source.prefix):
        for entry in page.get("Contents", ()):
            name = entry["Key"].removeprefix(source.prefix)
            if not _is_folder_marker(name, entry["Size"]):
                objects[name] = entry
    if not objects:
        raise DownloadFailed(where=source.uri, why="no object has this prefix")
    names, refused = allowed_files(objects, asked.code, asked.pickles)
    if refused is not None:
        raise refuse(source.uri, asked.model, *refused)
    folder, done = source_folder(source.url) / "files", 0
    total = sum(objects[name]["Size"] for name in names)
    hashes = {}
    for name in names:
        size, path = objects[name]["Size"], folder / name
        wrong = _wrong(client, source, objects[name], path) if path.is_file() else "missing"
        if wrong is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            so_far = done

            def moved(count: int) -> None:
                nonlocal so_far
                so_far += count
                asked.on_progress(so_far, total)

            client.download_file(source.bucket, objects[name]["Key"], str(path), Callback=moved)
            wrong = _wrong(client, source, objects[name], path)
            if wrong is not None:
                path.unlink()
                raise refuse(source.uri, asked.model, name, f"{wrong}; it was removed")
        done += size
        asked.on_progress(done, total)
        hashes[name] = f"sha256:{sha256_of(path)}"
    content = listing_hash(hashes)
    why = f"the objects have changed: their hash is {content[:12]}, not that of the pin"
    source.hold_to_pin(content, asked.model, next(iter(names), ""), why)
    return publish(S3Source(source.bucket, source.prefix, content).uri, folder, hashes)


def _is_folder_marker(name: str, size: int) -> bool:
    """Whether an object stands for a folder: consoles make one that ends with a slash, Hadoop an empty `_$folder$`.

    That of the prefix itself has no name left.
    """
    return not name or name.endswith("/") or (size == 0 and name.endswith("_$folder$"))


def _wrong(client: Any, source: S3Source, entry: dict[str, Any], path: Path) -> str | None:
    """The sign that a file is not the object; None where it is."""
    if path.stat().st_size != entry["Size"]:
        return f"it has {path.stat().st_size} bytes, the object {entry['Size']}"
    known = {"Bucket": source.bucket, "Key": entry["Key"]}
    head = client.head_object(**known, ChecksumMode="ENABLED")
    checksum = head.get("ChecksumSHA256", "")
    if checksum and "-" not in checksum:
        wanted = base64.b64decode(checksum).hex()
        return None if sha256_of(path) == wanted else f"its sha256 is not the object's {wanted[:12]}"
    tag = head["ETag"].strip('"')
    if head.get("ServerSideEncryption", "AES256") != "AES256":
        return None  # with keys of a key store the ETag is no hash; the size was compared, and TLS carried it
    if "-" not in tag:
        return None if _md5(path) == tag else f"its md5 is not the object's ETag {tag[:12]}"
    part = client.head_object(**known, PartNumber=1)["ContentLength"]
    return None if _parts(path, part) == tag else f"its parts' md5 is not the object's ETag {tag[:12]}"


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _parts(path: Path, size: int) -> str:
    """The ETag of a multipart upload: the md5 of its parts' md5s, and their number."""
    sums = []
    with path.open("rb") as stream:
        while data := stream.read(size):
            sums.append(hashlib.md5(data, usedforsecurity=False).digest())
    return f"{hashlib.md5(b''.join(sums), usedforsecurity=False).hexdigest()}-{len(sums)}"
