"""The examples of the reference that need hosts, run as they stand, in their order, each within its folder on the lab's
hosts.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.examples import SITE, Example, examples, run_example
from support.lab_site import Site, steelyard

from steelyard.inventory.choice import LAB_MARK
from steelyard.lab.simulated.tiny_model import make


class Story:
    """A folder with one inventory, the lab's, and what is declared anew between the examples."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.folder = folder
        (folder / "inventories").mkdir()
        self.inventory = site.copy(folder).rename(folder / "inventories/prod")
        (self.inventory / LAB_MARK).unlink()  # with it, no command would take it for the only one
        self.models = self.inventory / "group_vars/all/models.yml"
        self.before = yaml.safe_load(self.models.read_text())
        self.tiny = dict(self.before["models"]["llm/tiny"])
        self.small: dict[str, Any] | None = None

    def weights(self, version: str) -> dict[str, Any]:
        """A model of one tensor, stored on the host whose store the roles prepared, and served on none."""
        source = self.folder / f"small-{version}"
        source.mkdir()
        header = json.dumps({"t": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}).encode()
        (source / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + version.encode().ljust(8))
        (source / "config.json").write_text("{}")
        return {"source": f"file://{source}", "version": version, "hosts": "gpu"}

    def declare(self) -> None:
        models = {**self.before["models"], "llm/tiny": self.tiny, **({"llm/small": self.small} if self.small else {})}
        self.models.write_text(yaml.safe_dump({**self.before, "models": models}))

    def prepare(self, command: str) -> None:
        """What an operator would have declared, or done, before this example."""
        if command == "models push":
            self.small = self.weights("v1")
            self.declare()
        if command == "models diff":
            self.small = self.weights("v2")
            self.declare()
            assert self.run("models", "push", "llm/small").returncode == 0
        if command == "models rm":
            assert self.run("models", "keep", "llm/small", "v1", "--release").returncode == 0
        if command == "rollout":
            self.small = None  # pushed, and never applied: it can be taken away again
            self.tiny = {**self.tiny, "source": f"file://{make(self.folder / 'tiny-v2', 2)}", "version": "v2"}
            self.declare()
        if command == "lock show":
            self.tiny = dict(self.before["models"]["llm/tiny"])
            self.declare()

    def run(self, *words: str) -> Any:
        return steelyard(*words, "-i", str(self.inventory))


@pytest.fixture(scope="module")
def story(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(site, tmp_path_factory.mktemp("examples"))


@pytest.mark.parametrize("example", examples(SITE), ids=lambda example: example.command)
def test_example(example: Example, story: Story) -> None:
    story.prepare(example.command)
    done = run_example(example, story.folder)
    assert done.returncode == example.exit, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_examples_leave_the_site_as_it_was(site: Site, story: Story) -> None:
    assert steelyard("models", "rm", "llm/small", "v2", "-i", str(site.inventory), "--yes").returncode == 0
    assert site.changed("plan") == {}
