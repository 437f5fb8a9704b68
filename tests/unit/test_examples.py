"""The examples that need no host, run as they stand."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from support.examples import NOTHING, Example, examples, run_example

from steelyard.lab.dify_stack.archive import write_archive
from steelyard.lab.simulated.tiny_model import make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one inventory, a model's files, a release of Dify, and a key."""
    made = tmp_path_factory.mktemp("examples")
    weights = make(made / "weights", 1)
    everything = made / "inventories/prod/group_vars/all"
    everything.mkdir(parents=True)
    (made / "inventories/prod/hosts.yml").write_text(
        "all: {children: {gpu: {hosts: {gpu-1: {ansible_host: 192.0.2.11}}}, dify: {hosts: {dify-1: "
        "{ansible_host: 192.0.2.41}}}}}"
    )
    (made / "inventories/prod/.vault-password").write_text("of a test\n")
    serve = {"hosts": "gpu", "port": 8000, "max_model_len": 256}
    small = {"source": f"file://{weights}", "version": "v1", "serve": serve, "alias": "small"}
    (everything / "models.yml").write_text(yaml.safe_dump({"models": {"llm/small": small}}))
    archive = made / "dify.tar.gz"
    release = {
        "version": "1.16.1",
        "archive": str(archive),
        "sha256": write_archive("1.16.1", archive),
        "images": "images.yml",
    }
    dify = {"url": "http://192.0.2.41", "email": "ops@example.org", "password": "of-a-test-1", "release": release}
    (everything / "roles.yml").write_text(yaml.safe_dump({"dify": dify}))
    (made / ".ssh").mkdir(mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(made / ".ssh/id_ed25519")], check=True)
    return made


@pytest.mark.parametrize("example", examples(NOTHING), ids=lambda example: example.command)
def test_example(example: Example, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    if example.command == "init":
        folder = tmp_path
    done = run_example(example, folder)
    assert done.returncode == example.exit, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
