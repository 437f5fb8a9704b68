"""A release of Dify in the folder beside the one that runs, and whether the data of this one can go there."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from pathlib import Path
from typing import NamedTuple

from steelyard_host.dify import env_file, ladder, stores
from steelyard_host.dify.stack import RECORD, DifyError, Stack, declared_stack
from steelyard_host.dify.stores import StoreImage, VectorStep
from steelyard_host.system import beneath
from steelyard_host.wire.dify import Pulled


class Way(NamedTuple):
    """The stores of both releases by service, and the images that Weaviate's volume passes through in between."""

    old: dict[str, StoreImage]
    new: dict[str, StoreImage]
    steps: list[VectorStep]

    @property
    def has_vectors(self) -> bool:
        """Whether Weaviate is there before and after."""
        return stores.WEAVIATE in self.old and stores.WEAVIATE in self.new


def staged(stack: Stack) -> Stack:
    """The release that is staged beside the running one. Raises DifyError."""
    new = Stack(stack.config, stack.folder.with_name(stack.folder.name + ".next"))
    if new.version() is None:
        raise DifyError("no release is staged in %s" % new.folder)
    return new


def way(stack: Stack, new: Stack) -> Way:
    """The way of the stores' data to the staged release. Raises DifyError where there is none."""
    old_images, new_images = stores.images(stack), stores.images(new)
    return Way(old_images, new_images, stores.way(old_images, new_images, ladder.declared_steps(new.folder)))


def pull() -> Pulled:
    """Fetches every image of the staged release and of the way to it, before anything stops. Raises DifyError."""
    begin = time.monotonic()
    stack = declared_stack()
    new = staged(stack)
    steps = way(stack, new).steps
    new.compose("pull", "--quiet")
    ladder.pull(steps)
    return Pulled(new.version(), round(time.monotonic() - begin, 1))


def lay_over(new: Path, folder: Path) -> None:
    """Puts the files of a staged release over a project's folder: volumes stay, files of the old release go.

    Raises OSError where a folder on the way is a link: containers may write in `folder`.
    """
    record = json.loads((new / RECORD).read_text())
    old = json.loads((folder / RECORD).read_text())["files"] if (folder / RECORD).exists() else {}
    with beneath.opened(new) as source, beneath.opened(folder) as target:
        for gone in old.keys() - record["files"].keys():
            beneath.unlink(target, gone)
        for entry in beneath.walk(source, (ladder.STEPS,), lambda name, why: None):
            if not stat.S_ISREG(entry.status.st_mode):
                continue
            mode = 0o600 if entry.name == env_file.LIVE else stat.S_IMODE(entry.status.st_mode)
            with beneath.reading(entry.handle) as file, beneath.new_file(target, entry.name, mode) as laid:
                shutil.copyfileobj(file, laid)
                laid.flush()
                os.utime(laid.fileno(), ns=(entry.status.st_atime_ns, entry.status.st_mtime_ns))
