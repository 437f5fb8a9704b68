"""The real Docker Compose on this machine, for what it makes of files: its `config` needs no Docker.

It is Debian 13's package, fetched and checked by apt in a folder of its own, once; nothing is installed.
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import lru_cache
from pathlib import Path

from steelyard.lab.nspawn.paths import cache_root

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
RELEASE, PACKAGE = "trixie", "docker-compose"


def archive() -> str:
    """Return the address of Debian's archive that this machine's own apt uses. Raises CalledProcessError."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()[0]


@lru_cache
def compose_program() -> Path:
    """Return the program, fetched where it is missing (some seconds). Raises CalledProcessError."""
    top = cache_root() / f"compose-{RELEASE}"
    program = top / "root/usr/libexec/docker/cli-plugins/docker-compose"
    if not program.exists():
        for name in ("lists/partial", "cache/archives/partial", "root", "parts"):
            (top / name).mkdir(parents=True, exist_ok=True)
        (top / "sources.list").write_text(f"deb [signed-by={KEYRING}] {archive()} {RELEASE} main\n")
        (top / "status").touch()
        top.chmod(0o755)
        options = {
            "Dir::Etc::SourceList": top / "sources.list",
            "Dir::Etc::SourceParts": top / "parts",
            "Dir::State": top,
            "Dir::State::Lists": top / "lists",
            "Dir::State::Status": top / "status",
            "Dir::Cache": top / "cache",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
        subprocess.run([*apt, "update"], check=True, capture_output=True)
        subprocess.run([*apt, "download", PACKAGE], check=True, capture_output=True, cwd=top)
        package = next(top.glob(f"{PACKAGE}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", package, top / "root"], check=True, capture_output=True)
        package.unlink()
    return program


def environment_of(folder: Path, dotenv: str, names: tuple[str, ...] = ()) -> dict[str, str] | str:
    """What a container gets from this `.env`: the text by key, or Compose's last line where it refuses the file.

    `names` are keys that the compose file takes in by `${NAME}`: they are there as `BY_REFERENCE_NAME` too.
    """
    (folder / ".env").write_text(dotenv)
    lines = "".join(f"      BY_REFERENCE_{name}: ${{{name}:-}}\n" for name in names)
    (folder / "docker-compose.yaml").write_text(
        "services:\n  one:\n    image: none\n    env_file: [.env]\n    environment:\n      PRESENT: 'yes'\n" + lines
    )
    words = [compose_program(), "--project-name", "here", "config", "--format", "json"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or [""])[-1]
    shown: dict[str, str | None] = json.loads(done.stdout)["services"]["one"]["environment"]
    # `config` writes a dollar as it would have to stand in a compose file
    return {key: (text or "").replace("$$", "$") for key, text in shown.items() if key != "PRESENT"}
