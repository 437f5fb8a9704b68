"""A second look opens no file of the inventory, and misses no change of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from steelyard.inventory import stamps
from steelyard.inventory.digest import source_digest
from steelyard.inventory.stamps import Stamps, files_below

# says which files of a folder a command opens; what was written a moment ago counts as settled
SPY = """
import os, sys
from steelyard.inventory import stamps
stamps.SETTLED_NS = -(10**12)
folder = sys.argv.pop(1)
def told(event, arguments):
    if event == "open" and str(arguments[0]).startswith(folder + "/"):
        os.write(3, str(arguments[0]).encode() + b"\\n")
sys.addaudithook(told)
from steelyard.cli.main import main
main()
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "host_vars").mkdir(parents=True)
    (folder / "hosts.yml").write_text("all: {hosts: {h1: {}, h2: {}}}\n")
    for host in ("h1", "h2"):
        (folder / "host_vars" / f"{host}.yml").write_text("mtu: 1500\n")
    return folder


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "SETTLED_NS", -(10**12))


def opened(site: Path, tmp_path: Path) -> int:
    """How many files a look opens, told by what it notes."""
    looked = Stamps(tmp_path / "stamps")
    for file in files_below(str(site)):
        looked.of(file)
    looked.keep()
    return looked.opened


def opens(site: Path, out: Path) -> list[str]:
    with out.open("wb") as told:
        command = [sys.executable, "-c", SPY, str(site), "inventory", "-i", str(site), "--list"]
        subprocess.run(
            ["sh", "-c", 'exec "$@" 3>&1 >/dev/null', "sh", *command], stdout=told, stderr=subprocess.PIPE, check=True
        )
    return out.read_text().splitlines()


def test_a_second_look_opens_nothing_of_an_inventory(site: Path, tmp_path: Path) -> None:
    assert str(site / "host_vars" / "h2.yml") in opens(site, tmp_path / "first")
    assert opens(site, tmp_path / "second") == []


@pytest.mark.usefixtures("settled")
def test_what_was_changed_is_read_and_nothing_else(site: Path, tmp_path: Path) -> None:
    assert [opened(site, tmp_path) for _ in range(2)] == [3, 0]
    (site / "host_vars" / "h1.yml").write_text("mtu: 9000\n")
    assert [opened(site, tmp_path) for _ in range(2)] == [1, 0]


@pytest.mark.usefixtures("settled")
def test_a_change_of_the_same_length_with_the_old_time_is_seen(site: Path) -> None:
    file = site / "host_vars" / "h1.yml"
    was, before = file.stat(), source_digest(site)
    file.write_text("mtu: 9000\n")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert source_digest(site) != before


def test_what_may_be_written_in_the_same_tick_is_read_again(site: Path, tmp_path: Path) -> None:
    assert [opened(site, tmp_path) for _ in range(2)] == [3, 3]


@pytest.mark.usefixtures("settled")
def test_notes_that_are_torn_or_of_nobody_are_made_anew(site: Path, tmp_path: Path) -> None:
    for torn in (b"", b"[]", b'{"a": 1', b"\xff"):
        (tmp_path / "stamps").write_bytes(torn)
        assert opened(site, tmp_path) == 3


@pytest.mark.usefixtures("settled")
def test_variables_behind_a_linked_folder_count(site: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "shared"
    elsewhere.mkdir()
    (elsewhere / "net.yml").write_text("mtu: 1500\n")
    (site / "group_vars").mkdir()
    (site / "group_vars" / "all").symlink_to(elsewhere)
    (elsewhere / "again").symlink_to(site)  # and a circle
    before = source_digest(site)
    (elsewhere / "net.yml").write_text("mtu: 9000\n")
    assert before is not None
    assert source_digest(site) != before


@pytest.mark.usefixtures("settled")
def test_a_source_that_becomes_a_program_or_a_plugin_s_is_no_longer_kept(site: Path) -> None:
    hosts = site / "hosts.yml"
    assert source_digest(site) is not None
    hosts.chmod(0o755)
    assert source_digest(site) is None
    hosts.chmod(0o644)
    assert source_digest(site) is not None
    hosts.write_text("plugin: ansible.builtin.constructed\n")
    assert source_digest(site) is None
    assert source_digest(site) is None  # as noted, too
