"""What the CI templates install, for the repository that holds an inventory: steelyard's wheel, and a lock of all it
needs, by hash.

SITE/ci/wheels gets the wheel of this checkout (or the one given), SITE/ci/steelyard.lock what pip may install: these
versions, these files. Dependencies stay where the runner's index has them, unless --bundle carries their wheels into
SITE/ci/wheels too. With --offline nothing is asked of an index: the lock is of what lies in SITE/ci/wheels.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def wheel_into(folder: Path, given: Path | None) -> str:
    """Put the wheel there, alone of its name; `NAME==VERSION` of it."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("steelyard-*.whl"):
        if given is None or old.resolve() != given.resolve():
            old.unlink()
    if given is None:
        run(BIN / "pip", "wheel", "-q", "-q", "--no-deps", "--wheel-dir", folder, ROOT)
    elif given.parent.resolve() != folder.resolve():
        shutil.copy(given, folder)
    [wheel] = folder.glob("steelyard-*.whl")
    return f"steelyard=={wheel.name.split('-')[1]}"


def bundle(folder: Path, python: str) -> None:
    """The dependencies' wheels for this Python on Linux, beside steelyard's."""
    [wheel] = folder.glob("steelyard-*.whl")
    words = ["--only-binary", ":all:", "--python-version", python, "--platform", "manylinux_2_28_x86_64"]
    run(BIN / "pip", "download", "-q", "--dest", folder, *words, "--platform", "manylinux2014_x86_64", wheel)


def lock(site: Path, wanted: str, python: str, offline: bool) -> None:
    """For one Python, or, where an index is asked, for that and all newer ones."""
    words = ["--no-index"] if offline else ["--universal"]
    words += ["--generate-hashes", "--no-header", "--python-version", python, "--find-links", "ci/wheels"]
    run(BIN / "uv", "pip", "compile", "-q", *words, "--output-file", "ci/steelyard.lock", "-", cwd=site, given=wanted)


def run(*words: str | Path, cwd: Path | None = None, given: str = "") -> None:
    done = subprocess.run([str(word) for word in words], cwd=cwd, input=given, text=True, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"ci-lock: {words[0]} {words[1]} ended with {done.returncode}\n{done.stderr.strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path, help="the repository that holds the inventory")
    parser.add_argument(
        "--python", default="3.11", metavar="X.Y", help="the runner's Python, or the oldest of them; 3.11"
    )
    parser.add_argument("--wheel", type=Path, help="this wheel instead of one of the checkout")
    parser.add_argument(
        "--bundle", action="store_true", help="carry the dependencies' wheels too, for a runner without an index"
    )
    parser.add_argument("--offline", action="store_true", help="ask no index")
    given = parser.parse_args()
    wheels = given.site / "ci/wheels"
    wanted = wheel_into(wheels, given.wheel)
    if given.bundle:
        bundle(wheels, given.python)
    lock(given.site, wanted, given.python, given.offline or given.bundle)
    print(f"wrote {given.site}/ci/steelyard.lock: {wanted} and what it needs; commit ci/")


if __name__ == "__main__":
    main()
