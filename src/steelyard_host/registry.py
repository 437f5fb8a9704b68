"""Whether a registry serves an image, proven by its manifest and a blob, and how fast. Nothing is kept."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
from typing import Any

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


def ask(url: str, accept: str = "*/*") -> Any:
    return urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=SECONDS)


def probe(base: str, image: str) -> dict[str, Any]:
    """`image` is REPOSITORY:TAG or REPOSITORY@DIGEST, or empty for the API alone.

    `digest` of the manifest, `bytes` and `seconds` of a blob, `mode` as the registry's own header says it; `error` where
    one of them was not served. Mirrors are asked with Python's own client and never through a proxy.
    """
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
    found: dict[str, Any] = {"digest": None, "bytes": 0, "seconds": 0.0, "mode": None, "error": None}
    try:
        with ask(base + "/v2/") as answer:
            found["mode"] = answer.headers.get("X-Steelyard-Mode")
        if image:
            _image(base, image, found)
    except urllib.error.HTTPError as error:
        found["error"] = "%s %s" % (error.code, error.reason)
    except (OSError, ValueError, KeyError) as error:
        found["error"] = str(getattr(error, "reason", error))
    return found


def _image(base: str, image: str, found: dict[str, Any]) -> None:
    repository, _, reference = image.partition("@") if "@" in image else image.rpartition(":")
    content = _manifest(base, repository, reference)
    found["digest"] = "sha256:" + hashlib.sha256(content).hexdigest()
    if "@" in image and found["digest"] != reference:
        raise ValueError("it serves %s for %s" % (found["digest"], reference))
    manifest = json.loads(content)
    if "manifests" in manifest:
        manifest = json.loads(_manifest(base, repository, manifest["manifests"][0]["digest"]))
    blob = max([*manifest["layers"], manifest["config"]], key=lambda layer: layer["size"])
    start = time.monotonic()
    digest = hashlib.sha256()
    with ask("%s/v2/%s/blobs/%s" % (base, repository, blob["digest"])) as answer:
        while found["bytes"] < MOST:
            part = answer.read(1 << 20)
            if not part:
                break
            found["bytes"] += len(part)
            digest.update(part)
    found["seconds"] = round(time.monotonic() - start, 4)
    if found["bytes"] == blob["size"] and "sha256:" + digest.hexdigest() != blob["digest"]:
        raise ValueError("a blob of %s is not what its digest says" % repository)


def _manifest(base: str, repository: str, reference: str) -> bytes:
    with ask("%s/v2/%s/manifests/%s" % (base, repository, reference), KINDS) as answer:
        return bytes(answer.read())
