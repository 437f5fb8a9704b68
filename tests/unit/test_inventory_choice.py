"""The inventory a command means that was given none: the variable's, else the only one; never the example, never a lab
by silence.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.examples import examples

from steelyard.cli import program
from steelyard.cli.tree import Command, leaves
from steelyard.errors import InventoryMissing, InventoryNotNamed
from steelyard.inventory.choice import LAB_MARK, VARIABLE, choose_inventory

STEELYARD = str(Path(sys.executable).parent / "steelyard")
HOST = "all: {hosts: {h1: {ansible_host: 127.0.0.1, ansible_port: 9}}}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the example and a lab, as in a checkout after `lab up`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    for name in ("example", "lab"):
        site(tmp_path, name)
    (tmp_path / "inventories/lab" / LAB_MARK).touch()
    return tmp_path


def site(folder: Path, name: str) -> Path:
    path = folder / "inventories" / name
    path.mkdir(parents=True)
    (path / "hosts.yml").write_text(HOST)
    return path


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [STEELYARD, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, env={**os.environ, **environment}
    )


def test_the_only_one_is_taken(folder: Path) -> None:
    site(folder, "prod")
    (folder / "inventories/README.md").touch()
    (folder / "inventories/empty").mkdir()
    assert choose_inventory("steelyard plan") == Path("inventories/prod")


def test_a_file_is_an_inventory_too(folder: Path) -> None:
    (folder / "inventories/hosts.yml").write_text(HOST)
    (folder / "inventories/group_vars/all").mkdir(parents=True)
    assert choose_inventory("steelyard plan") == Path("inventories/hosts.yml")


def test_the_example_and_a_lab_do_not_count() -> None:
    with pytest.raises(InventoryNotNamed, match=r"none of your own in `inventories` \(.* do not count: example, lab\)"):
        choose_inventory("steelyard plan")


def test_of_several_none_is_taken(folder: Path) -> None:
    site(folder, "prod")
    site(folder, "test")
    with pytest.raises(InventoryNotNamed, match="several in `inventories`: prod, test"):
        choose_inventory("steelyard plan")


def test_the_variable_goes_before_the_only_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site(folder, "prod")
    monkeypatch.setenv(VARIABLE, "inventories/lab")
    assert choose_inventory("steelyard plan") == Path("inventories/lab")
    monkeypatch.setenv(VARIABLE, "")
    assert choose_inventory("steelyard plan") == Path("inventories/prod")


def test_a_variable_that_leads_nowhere_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site(folder, "prod")
    monkeypatch.setenv(VARIABLE, "inventories/prdo")
    with pytest.raises(InventoryMissing, match=f"inventories/prdo: no inventory here, where {VARIABLE} leads"):
        choose_inventory("steelyard plan")


WITHOUT_HOSTS = {"init", "completion", "dify seed", "wheels verify"}  # and all of `lab`, which has names instead
EXAMPLES = {example.command: example.run for example in examples()}


@pytest.mark.parametrize(
    "command", [command for command in leaves() if command.argv[0] != "lab"], ids=lambda each: "-".join(each.argv)
)
def test_no_command_goes_to_the_lab_by_silence(command: Command) -> None:
    """Each with the arguments of its example; the parser refuses before the command begins."""
    name = " ".join(command.argv)
    assert ("--inventory" in command.options) == (name not in WITHOUT_HOSTS)
    if "--inventory" not in command.options or name in (
        "apply",
        "doctor",
        "version",
    ):  # these two choose for themselves, see below
        return
    words = shlex.split(EXAMPLES[name].removeprefix("steelyard "))
    with pytest.raises(InventoryNotNamed, match=f"steelyard {name}: no inventory is named"):
        program.app(words, prog_name="steelyard", standalone_mode=False)


@pytest.mark.parametrize("words", ["apply --yes", "doctor --hosts", "doctor --record-keys", "version --hosts"])
def test_commands_that_choose_for_themselves_refuse_too(words: str) -> None:
    done = run(*words.split(), "--json")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["error"] == "InventoryNotNamed"
    assert "pass `-i DIR` or set STEELYARD_INVENTORY" in said["fix"]


def test_commands_take_the_only_one_and_the_variable(folder: Path) -> None:
    site(folder, "prod")
    assert run("inventory").stdout == "h1  127.0.0.1  \n"
    assert (
        "inventories/nope: no inventory here, where STEELYARD_INVENTORY"
        in run("status", STEELYARD_INVENTORY="inventories/nope").stderr
    )
    assert "h1: unreachable" in run("models", "ls", STEELYARD_INVENTORY="inventories/lab").stderr


def test_doctor_does_without_and_says_so(folder: Path) -> None:
    assert "no inventory was checked: there is none of your own" in run("doctor").stderr
    site(folder, "prod")
    found = json.loads(run("doctor", "--json").stdout)["findings"]
    assert "doctor.host_key" in [finding["code"] for finding in found]


def test_an_inventory_that_is_named_like_the_folder_is_taken_as_it_is(folder: Path) -> None:
    (folder / "inventories/hosts.yml").write_text(HOST)
    site(folder, "prod")
    assert run("inventory", "-i", "inventories/hosts.yml").returncode == 0
    assert "no inventory is named" not in run("inventory", "-i", "inventories").stderr
