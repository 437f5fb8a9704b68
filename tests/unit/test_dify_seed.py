"""Seeds of a plugin's dependencies: real releases of uv install from them, moved to another place, with nothing to ask.

The dependencies are a wheel and a source distribution of a server here, which is gone when it is tried.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fix_case import run
from support.dear import dear

from steelyard.artifacts.uv import uv_of_release, uv_program, uv_release
from steelyard.dify import seed
from steelyard.errors import DifyPluginWrong, DifySeedFailed, Exit

OWN = uv_release(uv_program("tests"))
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
# the first and the last of each generation of uv's cache, and one between
READERS = ("0.9.0", "0.9.30", "0.10.0", "0.11.33", "0.12.10", "0.13.0", "0.13.8", "0.13.9")
BACKEND = """
import base64, hashlib, pathlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "built-1.0-py3-none-any.whl"
    files = {
        "built.py": "VALUE = 2",
        "built-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: built\\nVersion: 1.0\\n",
        "built-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files["built-1.0.dist-info/RECORD"] = "".join(f"{path},,\\n" for path in files)
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as made:
        for path, text in files.items():
            made.writestr(path, text)
    return name
"""


def wheel(folder: Path) -> Path:
    path = folder / "plain-1.0-py3-none-any.whl"
    record = "plain.py,,\nplain-1.0.dist-info/METADATA,,\nplain-1.0.dist-info/WHEEL,,\nplain-1.0.dist-info/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("plain.py", "VALUE = 1")
        made.writestr("plain-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: plain\nVersion: 1.0\n")
        made.writestr("plain-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr("plain-1.0.dist-info/RECORD", record)
    return path


def source(folder: Path) -> Path:
    """A source distribution that needs nothing to be built."""
    head = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    files = {
        "pyproject.toml": head + '[project]\nname = "built"\nversion = "1.0"\n',
        "PKG-INFO": "Metadata-Version: 2.1\nName: built\nVersion: 1.0\n",
        "backend.py": BACKEND,
    }
    path = folder / "built-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as made:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"built-1.0/{name}")
            entry.size = len(text)
            made.addfile(entry, io.BytesIO(text.encode()))
    return path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    folder = tmp_path / "files"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def package(tmp_path: Path, server: ThreadingHTTPServer, *, lock: bool = True) -> Path:
    """A plugin's package whose lock names a wheel and a source distribution of the server, as `uv lock` writes it."""
    url = f"http://127.0.0.1:{server.server_port}"

    def entry(path: Path) -> str:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        return f'{{ url = "{url}/{path.name}", hash = "sha256:{digest}", size = {len(content)} }}'

    registry = f'source = {{ registry = "{url}/simple" }}'
    dependencies = 'dependencies = [{ name = "built" }, { name = "plain" }]'
    needed = '[package.metadata]\nrequires-dist = [{ name = "built" }, { name = "plain" }]'
    locked = f"""version = 1
revision = 3
requires-python = ">={PYTHON}"

[[package]]
name = "built"
version = "1.0"
{registry}
sdist = {entry(source(tmp_path / "files"))}

[[package]]
name = "plain"
version = "1.0"
{registry}
wheels = [{entry(wheel(tmp_path / "files"))}]

[[package]]
name = "toy"
version = "0.1"
source = {{ virtual = "." }}
{dependencies}

{needed}
"""
    project = f'[project]\nname = "toy"\nversion = "0.1"\nrequires-python = ">={PYTHON}"\n'
    path = tmp_path / "toy.difypkg"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("manifest.yaml", "version: 0.1\nauthor: a\nname: toy\n")
        made.writestr("pyproject.toml", project + 'dependencies = ["built", "plain"]\n')
        made.writestr("requirements.txt", "plain==1.0\n")
        if lock:
            made.writestr("uv.lock", locked)
    return path


def installed_by(program: str, packed: Path, plugin: Path, folder: Path) -> tuple[int, str]:
    """What the daemon does with a laid seed: three variables, and no server that answers."""
    folder.mkdir()
    with tarfile.open(packed) as archive:
        archive.extractall(folder / "cache", filter="fully_trusted")
    with zipfile.ZipFile(plugin) as archive:
        archive.extractall(folder / "plugin")
    environment = {
        "PATH": "/usr/bin:/bin",
        "VIRTUAL_ENV": str(folder / "plugin/.venv"),
        "UV_CACHE_DIR": str(folder / "cache"),
        "UV_HTTP_RETRIES": "0",
    }
    words = [program, "sync", "--frozen", "--no-dev", "--python", sys.executable]
    done = subprocess.run(words, cwd=folder / "plugin", env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        return done.returncode, done.stderr
    asked = "import built, plain; print(built.VALUE + plain.VALUE)"
    python = folder / "plugin/.venv/bin/python"
    return 0, subprocess.run([str(python), "-c", asked], capture_output=True, text=True).stdout.strip()


def stop(server: ThreadingHTTPServer) -> None:
    server.shutdown()
    server.server_close()


def test_a_seed_installs_in_another_place_with_nothing_to_ask(tmp_path: Path, served: ThreadingHTTPServer) -> None:
    plugin, packed = package(tmp_path, served), tmp_path / "seed.tar.gz"
    made = seed.make_seed(plugin, PYTHON, packed, (OWN,))
    assert (made.uv, made.failed) == (f"uv {OWN}", ())
    assert made.sha256 == hashlib.sha256(packed.read_bytes()).hexdigest()
    with tarfile.open(packed) as archive:
        assert [entry.linkname for entry in archive if entry.issym() and entry.linkname.startswith("/")] == []
    stop(served)
    assert installed_by(uv_program("tests"), packed, plugin, tmp_path / "host") == (0, "3")


def test_the_proof_asks_nobody_though_somebody_would_answer(
    tmp_path: Path, served: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(cache: Path) -> None:
        for path in [*cache.glob("wheels-*/**/*"), *cache.glob("sdists-*/**/*")]:
            if path.is_symlink() or path.is_file():
                path.unlink()

    monkeypatch.setattr(seed, "_make_movable", spoil)
    with pytest.raises(DifySeedFailed, match=rf"uv {OWN}: without a network: .*"):
        seed.make_seed(package(tmp_path, served), PYTHON, tmp_path / "seed.tar.gz", (OWN,))
    assert not (tmp_path / "seed.tar.gz").exists()


def test_links_that_hold_the_place_where_they_were_made_are_made_relative(tmp_path: Path) -> None:
    """uv 0.9 writes such ones, and later releases take them over."""
    cache, archive = tmp_path / "cache", tmp_path / "cache/archive-v0/x"
    archive.mkdir(parents=True)
    (archive / "file").write_text("content")
    link = cache / "wheels-v5/pypi/plain/1.0"
    link.parent.mkdir(parents=True)
    link.symlink_to(archive)
    (cache / "out").symlink_to("/etc/hostname")
    seed._make_movable(cache)
    moved = cache.rename(tmp_path / "moved")
    assert (moved / "wheels-v5/pypi/plain/1.0/file").read_text() == "content"
    assert str((moved / "out").readlink()) == "/etc/hostname"


def test_a_package_without_a_lock_is_refused_because_no_cache_helps_it(
    tmp_path: Path, served: ThreadingHTTPServer
) -> None:
    with pytest.raises(DifySeedFailed, match=r"has no uv\.lock"):
        seed.make_seed(package(tmp_path, served, lock=False), PYTHON, tmp_path / "seed.tar.gz", (OWN,))
    (tmp_path / "text.difypkg").write_text("no archive")
    with pytest.raises(DifyPluginWrong, match="is no plugin package"):
        seed.make_seed(tmp_path / "text.difypkg", PYTHON, tmp_path / "seed.tar.gz", (OWN,))


def test_one_of_each_generation_fills_a_seed_for_a_daemon_that_nobody_knows(
    tmp_path: Path, served: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that cannot be had, or cannot use it, is told; one that was named has to."""
    monkeypatch.setattr(seed, "GENERATIONS", ("0.0.0", OWN))
    made = seed.make_seed(package(tmp_path, served), PYTHON, tmp_path / "seed.tar.gz")
    assert (made.uv, [release for release, _ in made.failed]) == (f"uv {OWN}", ["0.0.0"])
    with pytest.raises(DifySeedFailed, match=r"uv 0\.0\.0: it cannot be had"):
        seed.make_seed(tmp_path / "toy.difypkg", PYTHON, tmp_path / "other.tar.gz", (OWN, "0.0.0"))


def test_a_newer_uv_than_all_that_are_known_fills_too() -> None:
    assert seed.releases_to_fill_for("0.13.9") == seed.GENERATIONS
    assert seed.releases_to_fill_for("0.12.3") == seed.GENERATIONS
    assert seed.releases_to_fill_for("0.13.10") == (*seed.GENERATIONS, "0.13.10")  # patches have changed it before


@pytest.mark.parametrize("given", ["0.12", "uv 0.12.10", "latest", ">=0.12.1", "0.12.10rc1"])
def test_a_release_that_is_none_is_refused_before_anything_is_fetched(tmp_path: Path, given: str) -> None:
    done = run(["steelyard", "dify", "seed", "x.difypkg", "-o", str(tmp_path / "seed"), "--uv", given])
    assert (done.returncode, f"--uv: `{given}` is no release of uv" in done.stderr) == (Exit.USAGE, True)


@dear(1, 3)
def test_real_releases_of_every_generation_install_from_one_seed(tmp_path: Path, served: ThreadingHTTPServer) -> None:
    programs = {release: uv_of_release(release, tmp_path / release, "tests") for release in READERS}
    missing = [release for release, (_, why) in programs.items() if why]
    if missing:
        pytest.skip(f"no package index here that has uv {', '.join(missing)}")
    plugin, packed = package(tmp_path, served), tmp_path / "seed.tar.gz"
    made = seed.make_seed(plugin, PYTHON, packed)
    assert made.failed == ()
    stop(served)
    ends = {
        release: installed_by(program, packed, plugin, tmp_path / f"host-{release}")
        for release, (program, _) in programs.items()
    }
    assert ends == dict.fromkeys(READERS, (0, "3"))


@dear(1, 3)
def test_a_seed_of_one_generation_is_none_for_another(tmp_path: Path, served: ThreadingHTTPServer) -> None:
    """Why there are several: this is what an offline site met."""
    programs = {release: uv_of_release(release, tmp_path / release, "tests") for release in seed.GENERATIONS}
    missing = [release for release, (_, why) in programs.items() if why]
    if missing:
        pytest.skip(f"no package index here that has uv {', '.join(missing)}")
    plugin = package(tmp_path, served)
    packed = {release: tmp_path / f"{release}.tar.gz" for release in seed.GENERATIONS}
    for release, path in packed.items():
        seed.make_seed(plugin, PYTHON, path, (release,))
    stop(served)
    ends = {
        (filled, reads): installed_by(program, path, plugin, tmp_path / f"host-{filled}-{reads}")[0] == 0
        for filled, path in packed.items()
        for reads, (program, _) in programs.items()
    }
    assert ends == {(filled, reads): filled == reads for filled, reads in ends}
