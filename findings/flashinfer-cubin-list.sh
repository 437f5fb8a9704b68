#!/usr/bin/env bash
# flashinfer-cubin 0.6.13 on PyPI: the wheel's own list of kernels names files that the wheel does not hold.
#
# The package exists so that a machine without internet has FlashInfer's kernels. `checksums.txt` files inside the wheel
# list them with their sha256. Whoever takes a complete download of the package for a complete set of kernels is wrong:
# all the shared objects that the lists name (960, for sm_100a, sm_103a and sm_110a) are absent, and FlashInfer fetches them at
# the first use that needs one. So kernels have to be compared with the lists, file by file, before a host is cut off.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: "flashinfer-cubin==0.6.13"
python3 - flashinfer_cubin-0.6.13-*.whl <<'PYTHON'
import collections, re, sys, zipfile
from pathlib import PurePosixPath

with zipfile.ZipFile(sys.argv[1]) as wheel:
    names = set(wheel.namelist())
    absent, present = collections.Counter(), collections.Counter()
    for listing in (name for name in names if name.endswith("checksums.txt")):
        for line in wheel.read(listing).decode().splitlines():
            match = re.fullmatch(r"([0-9a-f]{64})\s+\*?(\S+)", line.strip())
            if match:
                path = PurePosixPath(listing).parent / match[2].removeprefix("./")
                (present if str(path) in names else absent)[path.suffix] += 1
print("listed and in the wheel:", dict(sorted(present.items())))
print("listed and not in it:   ", dict(sorted(absent.items())))
sys.exit(0 if absent[".so"] == 960 else "changed")
PYTHON
