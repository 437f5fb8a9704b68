"""Makes small Debian packages and a signed flat repository of them: for packages that the lab only simulates."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tempfile
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from steelyard.lab.nspawn.programs import run


@dataclass(frozen=True)
class Deb:
    """A package. `files` maps a path to its text or bytes; names ending in `!` are executable."""

    name: str
    version: str
    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, str | bytes] = field(default_factory=dict)
    postinst: str = ""
    prerm: str = ""


def control(deb: Deb) -> str:
    head = {
        "Package": deb.name,
        "Version": deb.version,
        "Architecture": "amd64",
        "Maintainer": "steelyard lab <lab@example.org>",
        "Description": "simulated: made by the steelyard lab, and not NVIDIA's",
        **deb.fields,
    }
    return "".join(f"{key}: {value}\n" for key, value in head.items())


def build(deb: Deb, folder: Path) -> str:
    """Write the package; its paragraph for the index."""
    target = folder / f"{deb.name}_{deb.version.replace(':', '%3a')}_amd64.deb"
    with tempfile.TemporaryDirectory() as made:
        root = Path(made) / "root"
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN/control").write_text(control(deb))
        for script, text in (("postinst", deb.postinst), ("prerm", deb.prerm)):
            if text:
                (root / "DEBIAN" / script).write_text(f"#!/bin/sh\nset -e\n{text}\n")
                (root / "DEBIAN" / script).chmod(0o755)
        for name, content in deb.files.items():
            path = root / name.rstrip("!").lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str) and content.startswith("-> "):
                path.symlink_to(content[3:])
                continue
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            path.chmod(0o755 if name.endswith("!") else 0o644)
        run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", root, target)
    content = target.read_bytes()
    return (
        control(deb)
        + f"Filename: ./{target.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
    )


def make_key(home: Path, name: str) -> Path:
    """A signing key of the lab's own; the file with its public half."""
    public = home / f"{name}.gpg"
    if not public.exists():
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        gpg(home, "--quick-gen-key", f"{name} <{name}@lab.example>", "rsa3072", "sign", "never")
        gpg(home, "--output", str(public), "--export", f"{name}@lab.example")
    return public


def gpg(home: Path, *words: str) -> str:
    return run(
        "gpg",
        "--homedir",
        home,
        "--batch",
        "--yes",
        "--quiet",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
        *words,
    ).stdout


def publish(folder: Path, paragraphs: list[str], home: Path, signer: str, origin: str) -> None:
    """Index and sign a flat repository: Packages, Packages.gz, InRelease."""
    index = "\n".join(paragraphs).encode()
    packed = gzip.compress(index, mtime=0)
    (folder / "Packages").write_bytes(index)
    (folder / "Packages.gz").write_bytes(packed)
    sums = "".join(
        f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}\n"
        for name, content in (("Packages", index), ("Packages.gz", packed))
    )
    release = (
        f"Origin: {origin}\nLabel: {origin}\nSuite: /\nDate: {formatdate(usegmt=True)}\nArchitectures: "
        f"amd64\nSHA256:\n{sums}"
    )
    (folder / "Release").write_text(release)
    sign(folder, home, signer)


def sign(folder: Path, home: Path, signer: str) -> None:
    """Sign the index that is there, with another key than before if need be."""
    to, index = str(folder / "InRelease"), str(folder / "Release")
    gpg(home, "--local-user", f"{signer}@lab.example", "--clearsign", "--output", to, index)


def copy_repository(source: Path, target: Path) -> None:
    """Another folder with the same packages."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
