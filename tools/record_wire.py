"""Records what the helper of a commit answers on hosts that are folders: `python tools/record_wire.py [COMMIT]`.

tests/unit/test_wire_compatibility.py, test_wire_machine.py and test_wire_releases.py hold this checkout's helper and
controller against the recording, which is in tests/data, because a checkout need not have the commit.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMIT = "5e44696"
# a file of the recording -> the host that the answers are of, in tests/unit
HOSTS = {"answers.json": "helper_world.py", "machine.json": "helper_machine.py"}


def recorded(commit: str, host: str) -> str:
    """The answers as JSON, of one of the HOSTS. Raises CalledProcessError without the commit."""
    with tempfile.TemporaryDirectory() as folder:
        return answers(sources_of(commit, Path(folder)), Path(folder, "host"), host)


def sources_of(commit: str, folder: Path) -> Path:
    """The helper's sources of a commit, put into a folder. Raises CalledProcessError."""
    archive = subprocess.run(
        ["git", "archive", commit, "src/steelyard_host"], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as sources:
        sources.extractall(folder, filter="data")
    return folder / "src"


def answers(sources: Path, folder: Path, host: str, *look: str) -> str:
    """What the helper in `sources` answers on one of the HOSTS, made in the new folder `folder`.

    With the word `look` the folder is one that another helper left: what is there is asked for, and nothing changed.
    """
    argv = [sys.executable, "-I", str(ROOT / "tests/unit" / host), str(sources), str(folder), *look]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def main() -> None:
    commit = sys.argv[1] if len(sys.argv) > 1 else COMMIT
    for name, host in HOSTS.items():
        path = ROOT / "tests/data" / f"wire-{commit}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(recorded(commit, host))
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
