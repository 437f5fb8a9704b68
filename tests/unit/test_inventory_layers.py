"""Inventories in layers are one inventory everywhere: read, kept, located, locked, named in a sentence. That their
values are Ansible's is tested with the other shapes, in test_inventory_conformance.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from steelyard.cli.program import app, register
from steelyard.dirs import fleet_key, layers_of
from steelyard.errors import InventoryMissing, SettingWrong, UsageWrong
from steelyard.inventory.choice import VARIABLE, choose_inventory
from steelyard.inventory.digest import source_digest
from steelyard.inventory.known_names import known_names
from steelyard.inventory.layers import joined, own_folder
from steelyard.inventory.locate import locate
from steelyard.inventory.mentions import mentions
from steelyard.inventory.password import password_file
from steelyard.inventory.placeholders import placeholders_in
from steelyard.inventory.read import read_fleet
from steelyard.render.follow_up import carried, given_in
from steelyard.site.validation import check_settings

STEELYARD = str(Path(sys.executable).parent / "steelyard")
BOTH = Path("base,prod")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two layers in the working directory: hosts and ports in `base`, more of them in `prod`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    for path, text in {
        "base/hosts.yml": "all: {children: {gpu: {hosts: {g1: , g2: }}}}\n",
        "base/group_vars/gpu.yml": "rack: base\ngateway: {port: 8080}\n",
        "prod/hosts.yml": "all: {children: {gpu: {hosts: {g3: }}}}\n",
        "prod/group_vars/gpu.yml": "rack: prod\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def steelyard(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([STEELYARD, *words], capture_output=True, text=True)


@pytest.mark.parametrize(
    "words", ["-i base -i prod", "-i base,prod", "-ibase --inventory prod", "--inventory=base --inventory=prod"]
)
def test_layers_are_given_one_by_one_or_with_commas(words: str) -> None:
    told = json.loads(steelyard("inventory", *words.split(), "--list").stdout)
    assert {name: said["rack"] for name, said in told["_meta"]["hostvars"].items()} == dict.fromkeys(
        ("g1", "g2", "g3"), "prod"
    )
    assert told["_meta"]["hostvars"]["g3"]["gateway"] == {"port": 8080}


def test_the_later_layer_holds_and_the_order_is_another_inventory() -> None:
    turned = Path("prod,base")
    assert [read_fleet(path).host("g1").variables["rack"] for path in (BOTH, turned)] == ["prod", "base"]
    assert fleet_key(BOTH) != fleet_key(turned) != fleet_key(Path("base"))
    assert source_digest(BOTH) != source_digest(turned)


def test_the_same_layers_are_the_same_inventory_from_everywhere(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    keys = {fleet_key(BOTH), fleet_key(Path(f"{folder}/base,{folder}/prod"))}
    monkeypatch.chdir(folder / "base")
    assert keys == {fleet_key(Path("../base,../prod"))}


def test_a_name_with_a_comma_in_it_is_one_inventory(folder: Path) -> None:
    (folder / "base").rename("a,b")
    assert layers_of(Path("a,b")) == (Path("a,b"),)
    assert [host.name for host in read_fleet(Path("a,b")).hosts] == ["g1", "g2"]


def test_a_change_of_any_layer_is_read(folder: Path) -> None:
    assert read_fleet(BOTH).host("g1").variables["rack"] == "prod"
    assert read_fleet(BOTH).digest is not None
    (folder / "base/host_vars").mkdir()
    (folder / "base/host_vars/g1.yml").write_text("rack: of-the-host\n")
    assert read_fleet(BOTH).host("g1").variables["rack"] == "of-the-host"
    assert known_names(BOTH).hosts == ("g1", "g2", "g3")


def test_a_layer_that_is_missing_is_told_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InventoryMissing, match=r"^gone: "):
        read_fleet(Path("base,gone"))
    monkeypatch.setenv(VARIABLE, "base,gone")
    with pytest.raises(InventoryMissing, match=rf"^gone: .*{VARIABLE}"):
        choose_inventory("steelyard plan")
    monkeypatch.setenv(VARIABLE, str(BOTH))
    assert choose_inventory("steelyard plan") == BOTH


def test_an_inventory_of_pyinfras_is_no_layer(folder: Path) -> None:
    (folder / "more.py").write_text("gpu = ['g9']\n")
    for named in ("base,more.py", "more.py,base"):
        with pytest.raises(UsageWrong, match=r"more\.py"):
            read_fleet(Path(named))


def test_a_mistake_is_found_in_the_layer_that_says_it(folder: Path) -> None:
    fleet = read_fleet(BOTH)
    assert locate(BOTH, fleet.host("g1"), ("rack",)) == "prod/group_vars/gpu.yml:1"
    assert locate(BOTH, fleet.host("g1"), ("gateway", "port")) == "base/group_vars/gpu.yml:2"
    (folder / "prod/group_vars/all.yml").write_text("gateway: {port: 1}\n")
    (folder / "base/group_vars/gpu.yml").write_text("gateway:\n  port: many\n")
    [error] = check_settings(read_fleet(BOTH))
    assert isinstance(error, SettingWrong)
    assert error.where == "base/group_vars/gpu.yml:2"  # a group holds before `all`, whatever the layer


def test_what_lies_beside_hosts_is_looked_for_in_every_layer(folder: Path) -> None:
    assert own_folder(BOTH) == Path("prod")
    assert password_file(BOTH, None) is None
    (folder / "base/.vault-password").write_text("x\n")
    assert password_file(BOTH, None) == Path("base/.vault-password")
    (folder / "prod/.vault-password").write_text("y\n")
    assert password_file(BOTH, None) == Path("prod/.vault-password")
    (folder / "base/group_vars/all.yml").write_text("hf_token: CHANGE-ME\nnote: g3\n")
    assert [entry.place for entry in placeholders_in(BOTH)] == ["base/group_vars/all.yml:1"]
    assert [mention.where for mention in mentions(BOTH, "g3")] == ["base/group_vars/all.yml:2", "prod/hosts.yml:1"]


def test_a_command_that_a_sentence_names_has_all_layers() -> None:
    given = given_in(shlex.split("plan -i base -l gpu --inventory=prod"))
    assert carried("`steelyard apply`", given) == "`steelyard apply -i base,prod -l gpu`"
    assert joined([Path("base"), Path("prod")]) == BOTH


def test_every_command_with_an_inventory_takes_layers() -> None:
    """`lab up` writes one, so it takes one."""
    register([])
    takes = dict(inventory_options(typer.main.get_command(app), ()))
    assert {words for words, multiple in takes.items() if not multiple} == {("lab", "up")}
    assert len(takes) > 30


def inventory_options(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Each command that has the option -i, and whether it may be repeated."""
    yield from ((words, bool(param.multiple)) for param in command.params if "-i" in param.opts)
    for name, below in getattr(command, "commands", {}).items():
        yield from inventory_options(below, (*words, name))
