"""Images of the simulated Dify, from Debian packages: one layer with every program, thin ones above, pushed by hand.

A registry takes blobs and manifests over plain HTTP; that is all there is to a push, so no Docker is needed here.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import dify_double
from steelyard.lab.nspawn.paths import cache_root
from steelyard.lab.nspawn.programs import run

from .archive import LATER_DAEMON, WEAVIATES

PACKAGES = (
    "redis-server",
    "redis-tools",
    "postgresql-17",
    "python3",
    "python3-psycopg2",
    "nginx-light",
    "busybox-static",
    "openssl",
    "squid",
)
RELEASE = "trixie"
FIRST = "langgenius/dify-api"  # the repository that gets every layer first
HERE = Path(__file__).parent
DOUBLE = Path(str(dify_double.__file__)).parent
PYTHON = ("PYTHONPATH=/opt", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1")
PG_BIN = "PATH=/usr/lib/postgresql/17/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAYER, CONFIG = "application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.container.image.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Image:
    """`name` is REPOSITORY:TAG as the compose file writes it; `command` what it runs."""

    name: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    environment: tuple[str, ...] = field(default=PYTHON)
    installs: bool = False  # has uv, as the plugin daemon's

    @property
    def repository(self) -> str:
        """Repository of the image, with `library/` before the names of Docker's own."""
        path = self.name.rpartition(":")[0]
        return path if "/" in path else f"library/{path}"

    @property
    def tag(self) -> str:
        return self.name.rpartition(":")[2]


def standin(name: str, *words: str) -> Image:
    return Image(name, ("python3", "-m", "dify_double.service_stub", *words))


def api(version: str) -> Image:
    return Image(
        f"langgenius/dify-api:{version}", ("sh", "/opt/dify_double/api.sh"), (), (*PYTHON, f"DOUBLE_RELEASE={version}")
    )


def weaviate(version: str) -> Image:
    name = f"semitechnologies/weaviate:{version}"
    return Image(name, ("python3", "-m", "dify_double.weaviate_stub"), (), (*PYTHON, f"DOUBLE_WEAVIATE={version}"))


def images(*versions: str) -> tuple[Image, ...]:
    """Return all images that the compose files of these releases name."""
    own = [
        image
        for version in versions
        for image in (api(version), standin(f"langgenius/dify-web:{version}", "--port", "3000", "--at-hostname"))
    ]
    daemons = [
        replace(standin(f"langgenius/dify-plugin-daemon:{tag}", "--port", "5002", "--database"), installs=True)
        for tag in ("0.6.3-local", LATER_DAEMON)
    ]
    return (
        *own,
        *daemons,
        standin("langgenius/dify-sandbox:0.2.15", "--port", "8194"),
        *(weaviate(version) for version in WEAVIATES),
        Image("postgres:15-alpine", ("postgres",), ("sh", "/opt/dify_double/postgres.sh"), (PG_BIN,)),
        Image("redis:6-alpine", ("redis-server",), ("docker-entrypoint.sh",)),
        Image("nginx:latest", ("nginx", "-g", "daemon off;")),
        Image("ubuntu/squid:latest", ("squid", "-N", "-f", "/etc/squid/squid.conf.template")),
        Image("busybox:latest", ("/bin/busybox", "true")),
    )


def ensure_rootfs(say: Callable[[str], None]) -> Path:
    """The layer with every program, gzipped; made where it is missing or of another recipe (about a minute)."""
    recipe = hashlib.sha256(repr((RELEASE, PACKAGES)).encode()).hexdigest()[:16]
    layer = cache_root() / "dify" / f"rootfs-{recipe}.tar.gz"
    if layer.exists():
        return layer
    say(f"making the programs' layer of the simulated Dify from Debian {RELEASE} (once)")
    layer.parent.mkdir(parents=True, exist_ok=True)
    plain = layer.with_suffix("")
    run("mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(PACKAGES)}", RELEASE, plain)
    partial = layer.with_suffix(".partial")
    with plain.open("rb") as source, gzip.open(partial, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    plain.unlink()
    partial.rename(layer)
    return layer


def double_layer() -> bytes:
    """The double and the entry points, as a gzipped tar; the same bytes each time."""
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path in sorted(DOUBLE.glob("*.py")) + sorted((HERE / "entry").iterdir()):
                at = "usr/local/bin" if path.name in ("docker-entrypoint.sh", "flask") else "opt/dify_double"
                entry = tarfile.TarInfo(f"{at}/{path.name}")
                entry.size, entry.mode = path.stat().st_size, 0o755
                archive.addfile(entry, io.BytesIO(path.read_bytes()))
        return gzip.compress(packed.getvalue(), mtime=0)


def uv_layer() -> bytes:
    """The real uv, of this environment, as a gzipped tar."""
    from steelyard.artifacts.uv import uv_program

    program = Path(uv_program("steelyard lab"))
    kept = cache_root() / "dify" / f"uv-{program.stat().st_size}-{int(program.stat().st_mtime)}.tar.gz"
    if not kept.exists():
        with io.BytesIO() as packed:
            with tarfile.open(fileobj=packed, mode="w") as archive:
                entry = tarfile.TarInfo("usr/local/bin/uv")
                entry.size, entry.mode = program.stat().st_size, 0o755
                with program.open("rb") as file:
                    archive.addfile(entry, file)
            content = gzip.compress(packed.getvalue(), 1, mtime=0)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
    return kept.read_bytes()


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def push(registry: str, wanted: tuple[Image, ...], say: Callable[[str], None]) -> dict[str, str]:
    """Push images to HOST:PORT; name to digest. What a registry has already is not sent again."""
    rootfs = ensure_rootfs(say)
    programs, double, uv = _described(rootfs), double_layer(), uv_layer()
    sums = {content: (digest(content), digest(gzip.decompress(content))) for content in (double, uv)}
    digests = {}
    for image in wanted:
        thin = [double, uv] if image.installs else [double]
        diffs = [programs["diff"], *(sums[content][1] for content in thin)]
        _blob(registry, image.repository, programs["digest"], rootfs)
        for content in thin:
            _blob(registry, image.repository, sums[content][0], content)
        config = json.dumps(_config(image, diffs), sort_keys=True).encode()
        _blob(registry, image.repository, digest(config), config)
        described = [
            (rootfs.stat().st_size, programs["digest"]),
            *((len(content), sums[content][0]) for content in thin),
        ]
        layers = [{"mediaType": LAYER, "size": size, "digest": name} for size, name in described]
        head = {"mediaType": CONFIG, "size": len(config), "digest": digest(config)}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": head, "layers": layers}
        text = json.dumps(manifest, sort_keys=True).encode()
        for name in (image.tag, digest(text)):
            _request(registry, "PUT", f"/v2/{image.repository}/manifests/{name}", text, {"Content-Type": MANIFEST})
        digests[image.name] = digest(text)
    return digests


def _described(rootfs: Path) -> dict[str, str]:
    """Digests of the layer packed and unpacked; computed once and kept beside it."""
    kept = rootfs.with_suffix(".json")
    if not kept.exists():
        packed, unpacked = hashlib.sha256(), hashlib.sha256()
        with rootfs.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                packed.update(block)
        with gzip.open(rootfs) as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                unpacked.update(block)
        kept.write_text(
            json.dumps({"digest": f"sha256:{packed.hexdigest()}", "diff": f"sha256:{unpacked.hexdigest()}"})
        )
    digests: dict[str, str] = json.loads(kept.read_text())
    return digests


def _config(image: Image, diffs: list[str]) -> dict[str, object]:
    run = {
        "Env": list(image.environment),
        "Cmd": list(image.command),
        "Entrypoint": list(image.entrypoint) or None,
        "Labels": {"steelyard": "simulated Dify"},
    }
    return {"architecture": "amd64", "os": "linux", "config": run, "rootfs": {"type": "layers", "diff_ids": diffs}}


def _blob(registry: str, repository: str, name: str, content: bytes | Path) -> None:
    if _request(registry, "HEAD", f"/v2/{repository}/blobs/{name}", None, {}, (200, 404)).status == 200:
        return
    # another repository of the registry may have it
    mounted = _request(
        registry, "POST", f"/v2/{repository}/blobs/uploads/?mount={name}&from={FIRST}", None, {}, (201, 202)
    )
    if mounted.status == 201:
        return
    place = mounted.headers["Location"]
    place = place.split("//", 1)[-1].split("/", 1)[-1] if "://" in place else place.lstrip("/")
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    head = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    _request(registry, "PUT", f"/{place}{'&' if '?' in place else '?'}digest={name}", content, head)


def _request(
    registry: str,
    method: str,
    path: str,
    content: bytes | Path | None,
    headers: dict[str, str],
    allowed: tuple[int, ...] = (),
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(registry, timeout=300)
    try:
        if isinstance(content, Path):
            with content.open("rb") as body:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
        else:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status >= 300 and answer.status not in allowed:
        raise RuntimeError(f"{registry} answered {method} {path} with {answer.status}: {text[:200]!r}")
    return answer
