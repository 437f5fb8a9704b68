"""An image for two platforms as an OCI layout: what skopeo copies into a registry. Every byte is made here."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import NamedTuple

KIND = "application/vnd.oci.image."
PLATFORMS = ("amd64", "arm64")


class MadeImage(NamedTuple):
    """Digests of the image, and of its platforms by their architecture."""

    digest: str
    platforms: dict[str, str]


def make_image(folder: Path, seed: str) -> MadeImage:
    """Writes the layout, whose only image has the tag `v`; another seed gives other bytes everywhere."""
    (folder / "blobs/sha256").mkdir(parents=True)

    def put(body: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(body).hexdigest()
        (folder / "blobs/sha256" / digest).write_bytes(body)
        return {"mediaType": KIND + kind, "digest": f"sha256:{digest}", "size": len(body)}

    def platform(architecture: str) -> dict[str, object]:
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            body = (seed + architecture).encode() * 20_000
            entry = tarfile.TarInfo("file")
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
        layer = put(gzip.compress(tar.getvalue(), mtime=0), "layer.v1.tar+gzip")
        roots = {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar.getvalue()).hexdigest()]}
        about = {"architecture": architecture, "os": "linux", "config": {}, "rootfs": roots}
        config = put(json.dumps(about).encode(), "config.v1+json")
        document = {"schemaVersion": 2, "mediaType": KIND + "manifest.v1+json", "config": config, "layers": [layer]}
        return put(json.dumps(document).encode(), "manifest.v1+json")

    made = {name: platform(name) for name in PLATFORMS}
    listed = [{**entry, "platform": {"architecture": name, "os": "linux"}} for name, entry in made.items()]
    document = {"schemaVersion": 2, "mediaType": KIND + "index.v1+json", "manifests": listed}
    image = put(json.dumps(document).encode(), "index.v1+json")
    named = {**image, "annotations": {"org.opencontainers.image.ref.name": "v"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return MadeImage(str(image["digest"]), {name: str(entry["digest"]) for name, entry in made.items()})
