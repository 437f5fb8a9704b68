"""Weaviate's volume on its way through every minor release: one image after the other, each until it holds everything.

The images are those that the controller wrote beside the staged release; they are here before anything stops.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from steelyard_host.dify import vectors
from steelyard_host.dify.stack import DifyError, Stack, run
from steelyard_host.dify.stores import COMPOSE, WEAVIATE, VectorStep
from steelyard_host.dify.vectors import Vectors
from steelyard_host.system import json_file
from steelyard_host.wire.codec import WireError, from_json
from steelyard_host.wire.dify import VectorImages

STEPS = ".steelyard-vector-steps.json"
STEP = ".steelyard-vector-step.yaml"
OVERRIDE = "docker-compose.override.yaml"


def declared_steps(folder: Path) -> list[VectorStep]:
    """The images that are named for the way, as they lie in a staged folder; none where a controller wrote none.

    Raises DifyError where the file is not one of ours.
    """
    path = folder / STEPS
    try:
        text = path.read_text()
        images = from_json(VectorImages, json.loads(text)).images
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        why = error.args[0] if isinstance(error, WireError) else error
        raise DifyError("%s cannot be read: %s; stage the release again" % (path, why)) from error
    return [VectorStep(image.version, image.image) for image in images]


def pull(steps: list[VectorStep]) -> None:
    """Fetches the images of the way. Raises DifyError."""
    for step in steps:
        run(["docker", "pull", "--quiet", step.image], True)


def walk(stack: Stack, steps: list[VectorStep], before: Vectors, seconds: float, tell: Callable[[str], None]) -> None:
    """Brings the volume of a stopped Weaviate to the last step, and leaves it stopped. Raises DifyError at the first
    step at which something is lost; the volume is then not to be used.
    """
    for step in steps:
        tell("walk the vectors through Weaviate %s" % step.version)
        _climb(stack, step, before, seconds)


def _climb(stack: Stack, step: VectorStep, before: Vectors, seconds: float) -> None:
    path = stack.folder / STEP
    json_file.write_atomically(path, {"services": {WEAVIATE: {"image": step.image}}}, mode=0o600)
    try:
        names = [name for name in (COMPOSE, OVERRIDE, STEP) if (stack.folder / name).exists()]
        files = [word for name in names for word in ("--file", name)]
        stack.compose(*files, "up", "--detach", "--no-deps", "--quiet-pull", WEAVIATE)
        vectors.settled(stack, before, step.minor, seconds)
        vectors.stop(stack)
    finally:
        path.unlink(missing_ok=True)
