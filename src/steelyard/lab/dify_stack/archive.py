"""The release archive of the simulated Dify: `dify-VERSION/docker/...`, as the official source archive has it."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

RELEASE = Path(__file__).parent / "release"
BASE = "1.16.1"
# a later release renames a key, adds one and brings another plugin daemon, as real ones do
RENAMED = {
    "EDITION=SELF_HOSTED": "DEPLOYMENT_EDITION=COMMUNITY",
    "DIFY_AGENT_SHELLCTL_AUTH_TOKEN": "DIFY_AGENT_LOCAL_SANDBOX_AUTH_TOKEN",
    "DIFY_AGENT_SHELLCTL_ENTRYPOINT": "DIFY_AGENT_LOCAL_SANDBOX_ENDPOINT",
}
LATER_DAEMON = "0.6.10-local"
# the first is that of BASE, the last that of later releases, and a volume has to run the ones in between
WEAVIATES = ("1.27.0", "1.28.9", "1.29.2")


def files_of(version: str) -> dict[str, bytes]:
    """Path below docker/ to content."""
    files = {}
    for path in sorted(RELEASE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            name = ".env.example" if path.name == "dotenv.example" else path.relative_to(RELEASE).as_posix()
            files[name] = _of_version(path.read_text(), version).encode()
    return files


def _of_version(text: str, version: str) -> str:
    if version == BASE:
        return text
    text = text.replace(f"dify-api:{BASE}", f"dify-api:{version}").replace(f"dify-web:{BASE}", f"dify-web:{version}")
    if tuple(int(part) for part in version.split("-")[0].split(".")) > (1, 16, 1):
        text = text.replace("dify-plugin-daemon:0.6.3-local", f"dify-plugin-daemon:{LATER_DAEMON}")
        text = text.replace(f"weaviate:{WEAVIATES[0]}", f"weaviate:{WEAVIATES[-1]}")
        for old, new in RENAMED.items():
            text = text.replace(old, new)
        text = text.replace("LOG_LEVEL=INFO", "LOG_LEVEL=INFO\nLOG_OUTPUT_FORMAT=text")
    return text


def write_archive(version: str, target: Path) -> str:
    """Write a .tar.gz, the same bytes each time; its sha256."""
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, content in files_of(version).items():
                entry = tarfile.TarInfo(f"dify-{version}/docker/{name}")
                entry.size, entry.mode = len(content), 0o755 if name.endswith(".sh") else 0o644
                archive.addfile(entry, io.BytesIO(content))
        data = gzip.compress(packed.getvalue(), mtime=0)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
