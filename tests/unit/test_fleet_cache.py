"""A kept inventory is the read one, is never older than its files, and gives no secret away."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from steelyard.dirs import cache_folder
from steelyard.errors import VaultPasswordWrong
from steelyard.inventory import fleet_cache
from steelyard.inventory.ansible import encrypt_value, read_ansible
from steelyard.inventory.fleet import Fleet
from steelyard.inventory.read import read_fleet

SECRET = "canary-of-the-cache"


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "site"
    (root / "group_vars").mkdir(parents=True)
    (root / ".vault-password").write_text("open\n")
    (root / "hosts.yml").write_text(
        "all: {children: {gpu: {hosts: {'g[1:3]': {}}, vars: {rack: 1}}, odd: {hosts: {g1: {}, g3: {}}}}}\n"
    )
    token = encrypt_value(SECRET, root / ".vault-password")
    indented = "\n".join("  " + line for line in token.splitlines())
    (root / "group_vars" / "gpu.yml").write_text(f"size: 8\nlist: [1, two, {{a: null}}]\ntoken: !vault |\n{indented}\n")
    return root


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """How often ansible-core was asked."""
    asked: list[Path] = []

    def counted(path: Path, password: Path | None = None) -> Fleet:
        asked.append(path)
        return read_ansible(path, password)

    monkeypatch.setattr("steelyard.inventory.read._read_ansible", counted)
    return asked


def same(one: Fleet, other: Fleet) -> bool:
    return (one.hosts, one.groups, one.secrets, one.direct, one.children) == (
        other.hosts,
        other.groups,
        other.secrets,
        other.direct,
        other.children,
    )


def test_the_second_read_is_the_first_and_asks_nobody(inventory: Path, reads: list[Path]) -> None:
    first, second = read_fleet(inventory), read_fleet(inventory)
    assert same(first, second)
    assert len(reads) == 1
    assert SECRET in second.secrets


def test_patterns_of_ansible_are_asked_once_and_simple_ones_never(inventory: Path, reads: list[Path]) -> None:
    read_fleet(inventory)
    fleet = read_fleet(inventory)
    assert (fleet.match("gpu"), fleet.match("g2"), fleet.match("g*"), fleet.match("nobody")) == (
        ["g1", "g2", "g3"],
        ["g2"],
        ["g1", "g2", "g3"],
        [],
    )
    assert len(reads) == 1
    assert [fleet.match("gpu:!odd"), read_fleet(inventory).match("gpu:!odd"), fleet.match("gpu[0]")] == [
        ["g2"],
        ["g2"],
        ["g1"],
    ]
    assert len(reads) == 3


@pytest.mark.parametrize("change", ["edit", "add", "remove", "environment", "working directory"])
def test_whatever_ansible_would_read_anew_is_read_anew(
    inventory: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    before = read_fleet(inventory)
    if change == "edit":
        (inventory / "hosts.yml").write_text("all: {hosts: {other: {}}}\n")
    elif change == "add":
        (inventory / "host_vars").mkdir()
        (inventory / "host_vars" / "g1.yml").write_text("size: 9\n")
    elif change == "remove":
        (inventory / "group_vars" / "gpu.yml").unlink()
    elif change == "environment":
        monkeypatch.setenv("ANSIBLE_HASH_BEHAVIOUR", "merge")
    else:
        (inventory.parent / "group_vars").mkdir()
        (inventory.parent / "group_vars" / "gpu.yml").write_text("size: 10\n")
    after = read_fleet(inventory)
    assert len(reads) == 2
    assert same(before, after) == (change == "environment")


@pytest.mark.parametrize("source", ["program", "plugin"])
def test_a_source_that_may_answer_anew_is_never_kept(inventory: Path, reads: list[Path], source: str) -> None:
    if source == "program":
        program = inventory / "more.sh"
        program.write_text('#!/bin/sh\necho \'{"extra": {"hosts": ["e1"]}}\'\n')
        program.chmod(0o755)
    else:
        (inventory / "z.yml").write_text(
            "plugin: constructed\nstrict: false\ngroups:\n  one: inventory_hostname == 'g1'\n"
        )
    read_fleet(inventory)
    assert read_fleet(inventory).host("g1").name == "g1"
    assert len(reads) == 2


def test_what_is_kept_holds_no_secret_in_the_clear_and_is_nobody_elses(inventory: Path) -> None:
    read_fleet(inventory)
    kept = [path for path in cache_folder().rglob("*") if path.is_file()]
    assert kept
    assert all(SECRET.encode() not in path.read_bytes() for path in kept)
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    assert (cache_folder() / "inventory").stat().st_mode & 0o077 == 0


def test_another_password_does_not_open_what_was_kept(inventory: Path) -> None:
    read_fleet(inventory)
    (inventory / "other").mkdir()
    wrong = inventory.parent / "wrong"
    wrong.write_text("shut\n")
    shutil.rmtree(inventory / "other")
    with pytest.raises(VaultPasswordWrong):
        read_fleet(inventory, wrong)


def test_a_torn_file_is_read_anew(inventory: Path, reads: list[Path]) -> None:
    read_fleet(inventory)
    [kept] = [path for path in (cache_folder() / "inventory").iterdir() if not path.suffix]
    kept.write_bytes(kept.read_bytes()[:-20])
    read_fleet(inventory)
    assert len(reads) == 2


@pytest.mark.parametrize("odd", [".nan", "!!binary aGk="])
def test_values_that_json_cannot_hold_are_not_kept(odd: str, inventory: Path, reads: list[Path]) -> None:
    (inventory / "group_vars" / "all.yml").write_text(f"odd: {odd}\nborn: 2026-01-31\n")
    for _ in range(2):
        assert read_fleet(inventory).hosts[0].variables["born"] == "2026-01-31"
    assert len(reads) == 2
    assert fleet_cache.source_digest(inventory) is not None
