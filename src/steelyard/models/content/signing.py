"""A version signed by an SSH key, and held against the keys that a site trusts; OpenSSH does both (`ssh-keygen -Y`).

What is signed is one line that names model, version and manifest id, so a signature is good for nothing else: not for
another version of the same model, and not for the same bytes under another name. Agents and hardware keys work, as for
git.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from steelyard.errors import SignatureNotMade, SignatureWrong

NAMESPACE = "steelyard-model"


def statement(model: str, version: str, manifest: str) -> bytes:
    """The line that is signed."""
    return f"steelyard model {model} version {version} manifest {manifest}\n".encode()


def sign(model: str, version: str, manifest: str, key: Path) -> str:
    """The armoured signature. `key`: a private key's file, or a public one whose private half an agent has. Raises
    SignatureNotMade.
    """
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)]
    try:
        done = subprocess.run(command, input=statement(model, version, manifest), capture_output=True, check=False)
    except FileNotFoundError as error:
        raise SignatureNotMade(where=str(key), why="ssh-keygen is not installed") from error
    if done.returncode != 0:
        why = (done.stderr.decode(errors="replace").strip().splitlines() or ["ssh-keygen said nothing"])[-1]
        raise SignatureNotMade(where=str(key), why=why)
    return done.stdout.decode()


def verify_signature(
    model: str, version: str, manifest: str, signature: str | None, trusted: tuple[str, ...], where: str
) -> None:
    """`trusted`: public keys as in an authorized_keys file. No key trusted: nothing is asked. Raises SignatureWrong."""
    if not trusted:
        return
    if signature is None:
        raise SignatureWrong(
            where=where, model=model, version=version, why="it is not signed, and the site trusts signed versions only"
        )
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "signature").write_text(signature)
        (folder / "keys").write_text("".join(f"steelyard {_key(line)}\n" for line in trusted))
        command = ["ssh-keygen", "-Y", "verify", "-f", str(folder / "keys"), "-I", "steelyard", "-n", NAMESPACE]
        command += ["-s", str(folder / "signature")]
        done = subprocess.run(command, input=statement(model, version, manifest), capture_output=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()
        why = (
            f"the signature is not of a trusted key, or of other content "
            f"({lines[-1] if lines else 'ssh-keygen said nothing'})"
        )
        raise SignatureWrong(where=where, model=model, version=version, why=why)


def _key(line: str) -> str:
    """Type and key, without the comment."""
    return " ".join(line.split()[:2])
