"""A published version, read byte by byte and held against its manifest."""

from __future__ import annotations

import os
from pathlib import Path

from steelyard_host.errors import HelperError
from steelyard_host.store import layout
from steelyard_host.store.hashing import content_id, wrong_chunks
from steelyard_host.store.staging import copy_file
from steelyard_host.wire.store import Verification


def verify(root: Path, project: str, version: str, quarantine: bool) -> Verification:
    """Every chunk of a version that is not what was published; with `quarantine`, such files go out of sight.

    `id` is None where nothing is published. A manifest that is not the one of then is named as a file, and nothing else
    can be. Raises HelperError: what is wrong lies on a NAS, and cannot be put out of sight.
    """
    folder = root / project / version
    record = layout.published(root, project, version)
    if record is None or not folder.is_dir():
        return Verification(None, 0, {})
    manifest = layout.manifest_of(root, record)
    if manifest is None or content_id(manifest.document) != record.id:
        if quarantine:
            layout.manifest_path(root, record.id).unlink(missing_ok=True)
        return Verification(record.id, 0, {layout.MANIFEST: (0,)})
    checked = {name: tuple(wrong_chunks(folder / name, spans)) for name, spans in manifest.spans().items()}
    wrong = {name: numbers for name, numbers in checked.items() if numbers}
    extra = tuple(name for name in layout.altered(root, record) if name not in manifest.files)
    if quarantine and wrong:
        if folder.is_symlink():
            raise HelperError("%s %s lies on %s, which is not ours to mend" % (project, version, os.readlink(folder)))
        _quarantine(folder, layout.staging_folder(root, project, version), list(wrong))
    return Verification(manifest.id, sum(entry["size"] for entry in manifest.files.values()), wrong, extra)


def _quarantine(folder: Path, staging: Path, names: list[str]) -> None:
    """A copy goes to staging, where the next push finds the good chunks of it; no engine that starts can read the bad
    ones.
    """
    for name in names:
        path, staged = folder / name, staging / name
        if path.exists():
            staged.parent.mkdir(parents=True, exist_ok=True)
            staged.unlink(missing_ok=True)
            copy_file(path, staged)
            path.unlink()
