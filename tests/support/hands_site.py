"""A site of five hosts as its operators handle it: llama.cpp services, which start in a second, behind one gateway.

`mirror-1`, `gw-1` (gateway, and a simulated Dify) and `gpu-1` to `gpu-3`; hosts, SSH, systemd, HAProxy and engines are
real, GPUs are simulated. STEELYARD_HANDS_LAB names the lab, so that two can run beside each other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from steelyard.lab.load import LoadGenerator, texts_of
from steelyard.lab.nspawn.record import require_lab

from . import tiny_gguf
from .lab_site import Site, own_wheels, steelyard

NAME = os.environ.get("STEELYARD_HANDS_LAB", "hands")
DESCRIPTION = Path(__file__).parent / "hands_site.yml"
HOSTS = 5
GPUS = ("gpu-1", "gpu-2", "gpu-3")
VERSIONS = {"v1": 1, "v2": 2}  # version to the seed of its weights
PROJECT = "gguf/{}"


def count(**figures: int) -> None:
    """Add to the figures that `make test-hands` ends with."""
    target = os.environ.get("STEELYARD_HANDS_COUNTS")
    if target:
        with Path(target).open("a") as file:
            file.write(json.dumps(figures) + "\n")


class HandsSite(Site):
    """The lab and its inventory; services are declared by name, each an alias of its own name."""

    texts: dict[str, dict[str, str]]

    @property
    def models_path(self) -> Path:
        return self.inventory / "group_vars/all/models.yml"

    @property
    def roles_path(self) -> Path:
        return self.inventory / "group_vars/all/roles.yml"

    def serve(self, alias: str, hosts: str, port: int, version: str = "v1", **serve: object) -> None:
        """Declare the alias on these hosts (an Ansible pattern), or change it; `serve` goes into its section."""
        declared = yaml.safe_load(self.models_path.read_text())
        weights = self.inventory.parent / "weights"
        section = {
            "engine": "llamacpp",
            "hosts": hosts,
            "port": port,
            "max_model_len": 256,
            "affinity": "none",
            "gpu_memory_utilization": 0.2,
            "options": {"n_threads": 1},
            **serve,
        }
        declared["models"][PROJECT.format(alias)] = {
            "source": f"file://{weights}/{version}",
            "version": version,
            "alias": alias,
            "serve": section,
        }
        self.models_path.write_text(yaml.safe_dump(declared))

    def unserve(self, alias: str) -> None:
        """Declare the alias no more."""
        declared = yaml.safe_load(self.models_path.read_text())
        del declared["models"][PROJECT.format(alias)]
        self.models_path.write_text(yaml.safe_dump(declared))

    def roles(self, **sections: Mapping[str, object] | None) -> None:
        """Put settings into a file of their own, which stands in for the one before; None takes a section out of it.

        `roles.yml`, with the lab's keys, stays as it is: a section of it is repeated whole where it is changed.
        """
        path = self.inventory / "group_vars/all/zz-hands.yml"
        kept = yaml.safe_load(path.read_text()) if path.exists() else {}
        for name, settings in sections.items():
            kept.pop(name, None)
            if settings is not None:
                kept[name] = dict(settings)
        path.write_text(yaml.safe_dump(kept))

    def apply(self, *words: str) -> str:
        """Apply, which has to succeed; what it said."""
        done = steelyard("apply", "-i", str(self.inventory), "--yes", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def load(self, alias: str, clients: int = 4, texts: dict[str, dict[str, str]] | None = None) -> LoadGenerator:
        """Clients of the alias, until the block ends; by default each answer has to be one of a version's."""
        key = self.secrets["demo_client_key"]
        given = self.texts if texts is None else texts
        return LoadGenerator(self.address("gw-1"), 8080, key, alias, given, clients=clients)

    def helper(self, host: str, *words: str) -> dict[str, Any]:
        """What the host's helper answers."""
        answer = self.sh(host, f"python3 -I /usr/lib/steelyard/steelyard-host.pyz {' '.join(words)}")
        found: dict[str, Any] = json.loads(answer)
        return found


def boot(folder: Path) -> HandsSite:
    """The lab with everything applied, and aliases `pair` (two replicas) and `solo`, both on v1."""
    inventory = folder / "inventory"
    steelyard("lab", "down", "--name", NAME)
    words = ("--name", NAME, "--inventory", str(inventory), "--description", str(DESCRIPTION))
    up = steelyard("lab", "up", str(HOSTS), *words)
    assert up.returncode == 0, up.stderr
    own_wheels()
    site = HandsSite(require_lab(NAME, "test"), inventory)
    for version, seed in VERSIONS.items():
        tiny_gguf.make(folder / "weights" / version, seed)
    site.models_path.write_text(yaml.safe_dump({"model_root": "/models", "models": {}}))
    site.serve("pair", "gpu-1:gpu-2", 8010)
    site.serve("solo", "gpu-3", 8011)
    site.apply()
    for machine in site.lab.machines:
        if machine.lacks_layer:
            assert steelyard("lab", "snapshot", machine.host.name, "--name", NAME).returncode == 0
    door = (site.address("gw-1"), 8080, site.secrets["demo_client_key"])
    site.texts = {"v1": texts_of(*door, "pair")}
    site.serve("pair", "gpu-1:gpu-2", 8010, "v2")
    moved = steelyard("rollout", "pair", "v2", "-i", str(inventory), "--yes", "--waves", "2")
    assert moved.returncode == 0, moved.stderr
    site.texts["v2"] = texts_of(*door, "pair")
    site.serve("pair", "gpu-1:gpu-2", 8010)
    back = steelyard("rollback", "pair", "-i", str(inventory), "--yes", "--waves", "2")
    assert back.returncode == 0, back.stderr
    assert site.texts["v1"] != site.texts["v2"]
    return site
