"""Whether a registry serves an image, proven by its manifest and a blob, and how fast. Nothing is kept."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from steelyard_host.system.http_body import body_of
from steelyard_host.wire.mirror import RegistryProbe

KINDS = ", ".join(
    "application/vnd." + name
    for name in (
        "oci.image.index.v1+json",
        "oci.image.manifest.v1+json",
        "docker.distribution.manifest.list.v2+json",
        "docker.distribution.manifest.v2+json",
    )
)
SECONDS = 10
MOST = 64 << 20  # bytes read of a blob: enough for a rate


class ServedBlob(NamedTuple):
    """The part of an image that was read: the digest of its manifest, and bytes and seconds of a blob."""

    digest: str
    bytes: int
    seconds: float


def ask(url: str, accept: str = "*/*") -> Any:
    """The open answer of a registry. Raises OSError."""
    return urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=SECONDS)


def probe(base: str, image: str) -> RegistryProbe:
    """Whether the registry at `base` serves an image: REPOSITORY:TAG or REPOSITORY@DIGEST; empty for the API alone.

    Mirrors are asked with Python's own client and never through a proxy.
    """
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
    result = RegistryProbe(None, 0, 0.0, None, None)
    try:
        with ask(base + "/v2/") as answer:
            result = result._replace(mode=answer.headers.get("X-Steelyard-Mode"))
        if image:
            served = _image(base, image)
            result = result._replace(digest=served.digest, bytes=served.bytes, seconds=served.seconds)
    except urllib.error.HTTPError as error:
        return result._replace(error="%s %s" % (error.code, error.reason))
    except (OSError, ValueError, KeyError) as error:
        return result._replace(error=str(getattr(error, "reason", error)))
    return result


def _image(base: str, image: str) -> ServedBlob:
    repository, _, reference = image.partition("@") if "@" in image else image.rpartition(":")
    content = _manifest(base, repository, reference)
    manifest_digest = "sha256:" + hashlib.sha256(content).hexdigest()
    if "@" in image and manifest_digest != reference:
        raise ValueError("it serves %s for %s" % (manifest_digest, reference))
    manifest = json.loads(content)
    if "manifests" in manifest:
        manifest = json.loads(_manifest(base, repository, manifest["manifests"][0]["digest"]))
    blob = max([*manifest["layers"], manifest["config"]], key=lambda layer: layer["size"])
    start = time.monotonic()
    digest, read = hashlib.sha256(), 0
    with ask("%s/v2/%s/blobs/%s" % (base, repository, blob["digest"])) as answer:
        while read < MOST:
            part = answer.read(1 << 20)
            if not part:
                break
            read += len(part)
            digest.update(part)
    seconds = round(time.monotonic() - start, 4)
    if read == blob["size"] and "sha256:" + digest.hexdigest() != blob["digest"]:
        raise ValueError("a blob of %s is not what its digest says" % repository)
    return ServedBlob(manifest_digest, read, seconds)


def _manifest(base: str, repository: str, reference: str) -> bytes:
    with ask("%s/v2/%s/manifests/%s" % (base, repository, reference), KINDS) as answer:
        return body_of(answer)
